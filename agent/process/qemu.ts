import type { Monitor } from "../qmp/monitor.ts";
import type { QemuProcess } from "./launch.ts";

/** A running QEMU with its monitor. */
export interface Qemu extends Disposable {
  readonly process: QemuProcess;
  readonly monitor: Monitor;
}
