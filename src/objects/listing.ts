import { LockstepError } from "../lib/errors.ts";
import type { ObjectPage } from "../protocol/objects.ts";
import { MAX_LISTED } from "../protocol/requests.ts";
import { checkKey } from "./names.ts";
import type { ObjectStore } from "./port.ts";

/** One page of a bucket that exists. @throws {LockstepError} OBJECT_KEY_INVALID, BAD_REQUEST for a cursor that is none */
export const pageOf = async (
  store: ObjectStore,
  bucket: string,
  { prefix = "", cursor, limit = MAX_LISTED }: { prefix?: string; cursor?: string; limit?: number },
): Promise<ObjectPage> => {
  if (prefix !== "") checkKey(prefix);
  const after = cursor === undefined ? undefined : keyOf(cursor);
  const most = Math.max(1, Math.min(limit, MAX_LISTED));
  const { objects, more } = await store.list(bucket, { prefix, limit: most, ...(after === undefined ? {} : { after }) });
  const last = objects.at(-1);
  return more && last !== undefined ? { objects, cursor: Buffer.from(last.key).toString("base64url") } : { objects };
};

const keyOf = (cursor: string): string => {
  const key = Buffer.from(cursor, "base64url").toString();
  if (key !== "" && Buffer.from(key).toString("base64url") === cursor) return key;
  throw new LockstepError("BAD_REQUEST", "the cursor is none that a page has given", { details: { field: "cursor" } });
};
