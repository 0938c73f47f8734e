import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { errno, SystemError } from "../../ffi/errno.ts";
import { dup } from "../../ffi/libc.ts";

describe("SystemError.code", () => {
  for (const [name, number] of Object.entries(constants.errno)) {
    const alias = { EWOULDBLOCK: "EAGAIN", ENOTSUP: "EOPNOTSUPP", EDEADLOCK: "EDEADLK" }[name];
    it(`is "${alias ?? name}" for ${name}`, () => {
      assert.equal(new SystemError("open", number).code, alias ?? name);
    });
  }

  for (const [name, other] of [["EAGAIN", 11], ["EOPNOTSUPP", 95], ["EDEADLK", 35]] as const) {
    it(`is "${name}", as the man pages say it, where the number has two names`, () => {
      assert.equal(new SystemError("f", other).code, name);
    });
  }

  it("says the number where it has no name", () => {
    assert.equal(new SystemError("f", 4000).code, "errno 4000");
  });
});

describe("SystemError", () => {
  it("says operation, path and code, each of which is also a property", () => {
    const error = new SystemError("fsetfilecon_raw", 95, { path: "/srv/nfs/vm1.raw", hint: "Do." });
    assert.equal(error.message, 'fsetfilecon_raw "/srv/nfs/vm1.raw": EOPNOTSUPP');
    const { name, operation, errno, code, path, hint } = error;
    assert.deepEqual({ name, operation, errno, code, path, hint }, {
      name: "SystemError",
      operation: "fsetfilecon_raw",
      errno: 95,
      code: "EOPNOTSUPP",
      path: "/srv/nfs/vm1.raw",
      hint: "Do.",
    });
    assert(error instanceof Error);
  });

  it("says operation and code where there is no path", () => {
    assert.equal(new SystemError("epoll_create1", 24).message, "epoll_create1: EMFILE");
  });

  it("withHint is the same failure with another hint", () => {
    const error = new SystemError("bind", 13, { path: "/run/a", hint: "First." });
    const hinted = error.withHint("Second.");
    assert.deepEqual(
      { ...hinted, message: hinted.message },
      { ...error, message: error.message, hint: "Second." },
    );
    assert.equal(error.hint, "First.");
  });
});

describe("errno", () => {
  it("is what the call before it left", () => {
    assert.throws(() => dup(-1), {
      operation: "fcntl F_DUPFD_CLOEXEC",
      code: "EBADF",
      path: "fd -1",
    });
    for (let i = 0; i < 1000; i++) {
      existsSync("/no/such/file"); // Leaves ENOENT, on this thread, where the runtime uses it.
      assert.throws(() => dup(-1), { code: "EBADF" });
    }
  });

  it("is a positive number of this thread", () => {
    assert.throws(() => dup(-1));
    const now = errno();
    assert(Number.isInteger(now) && now >= 0);
  });
});
