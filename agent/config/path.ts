import { type Reader, string } from "./schema.ts";

/** An absolute path that means the same whatever the working directory, links aside. */
export const absolutePath: Reader<string> = string((path) => {
  if (!path.startsWith("/")) return "is not absolute";
  if (path.split("/").includes("..")) return 'has a component ".."';
  return undefined;
});

/** An absolute path of a file, plain: nothing that a folder alone can be called. */
export const filePath: Reader<string> = (value, place) => {
  const path = absolutePath(value, place);
  // Plain, because the log knows files by their paths as well.
  if (!/(^|\/)\.?$/.test(path)) return plain(path);
  throw place.error(`${JSON.stringify(path)} names a folder, not a file`);
};

/** The same path without empty components and `.`, to compare it with others. */
export function plain(path: string): string {
  return `/${path.split("/").filter((part) => part !== "" && part !== ".").join("/")}`;
}
