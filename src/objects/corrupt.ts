import { LockstepError } from "../lib/errors.ts";
import type { StoredBytes } from "./bytes.ts";

export const corrupt = ({ file }: StoredBytes, what: string): LockstepError =>
  new LockstepError("OBJECT_CORRUPT", `the bytes in objects/${file} are not those that were stored: ${what}`, { details: { file } });
