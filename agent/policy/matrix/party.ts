/** A guest's process, or one of its images. */
export interface Party {
  /** `system_u:system_r:svirt_t:s0:c1,c2` */
  readonly context: string;
  /** What people call it: a guest's name, an image's path. */
  readonly name?: string | undefined;
}

export interface ImageParty extends Party {
  /** Its class: `file`, or `blk_file` for a block device. */
  readonly tclass: string;
}

/** Everybody on a host whom categories have to keep apart. */
export interface Parties {
  readonly guests: readonly Party[];
  readonly images: readonly ImageParty[];
}
