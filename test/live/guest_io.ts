/**
 * What the guest itself would read or write: HMP `qemu-io` on its device, as QMP carries it.
 *
 * @param image Its name in the guest file.
 */
export function guestIo(
  image: string,
  text: string,
): [command: string, args: { "command-line": string }] {
  const device = `/machine/peripheral/${image}-device/virtio-backend`;
  return ["human-monitor-command", { "command-line": `qemu-io -d ${device} "${text}"` }];
}
