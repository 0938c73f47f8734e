/** A qcow2 header that names a backing file, its format and a data file. */
export function qcow2(
  backing?: string,
  format?: string,
  more: { data?: string; size?: bigint } = {},
): Uint8Array {
  const bytes = new Uint8Array(65536);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x514649fb);
  view.setUint32(4, 3);
  view.setUint32(20, 16);
  view.setBigUint64(24, more.size ?? 4096n);
  view.setBigUint64(72, more.data === undefined ? 0n : 4n);
  view.setUint32(100, 104);
  let at = 104;
  for (const [type, text] of [[0xe2792aca, format], [0x44415441, more.data]] as const) {
    if (text === undefined) continue;
    view.setUint32(at, type);
    view.setUint32(at + 4, text.length);
    bytes.set(new TextEncoder().encode(text), at + 8);
    at += 8 + Math.ceil(text.length / 8) * 8;
  }
  if (backing !== undefined) {
    view.setBigUint64(8, BigInt(at + 8));
    view.setUint32(16, backing.length);
    bytes.set(new TextEncoder().encode(backing), at + 8);
  }
  return bytes;
}
