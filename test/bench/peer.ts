import { join } from "node:path";
import { hostCommand } from "../lab/host_command.ts";
import { PROJECT } from "../lab/project.ts";

/** Something that a measurement needs is not there; the others go on. */
export class MissingError extends Error {
  override readonly name = "MissingError";
}

/**
 * Compiles a peer.
 *
 * @param folder Takes the program.
 * @param libraries Options for the linker.
 * @throws {@linkcode MissingError} where there is no C compiler.
 */
export async function compilePeer(
  name: string,
  folder: string,
  libraries: readonly string[] = [],
): Promise<string> {
  const program = join(folder, name);
  const source = join(PROJECT, `test/bench/peer/${name}.c`);
  await hostCommand(["cc", "--version"]).catch(() => {
    throw new MissingError("there is no C compiler (Debian: gcc, libc6-dev)");
  });
  await hostCommand(["cc", "-O2", "-Wall", "-o", program, source, ...libraries]);
  return program;
}
