/** Objects' facts as HTTP headers, and back. */
import type { IncomingHttpHeaders } from "node:http";
import type { FastifyReply } from "fastify";
import { LockstepError } from "../lib/errors.ts";
import type { ByteRange, ObjectInfo, PutOptions } from "../protocol/objects.ts";

const META = "x-lockstep-meta-";

/** Metadata may hold any text, headers only ASCII: what is not, and the percent sign itself, is percent-encoded UTF-8. */
const encode = (value: string): string => value.replaceAll(/[^\x20-\x24\x26-\x7e]+|^ | $/g, encodeURIComponent);

const decode = (value: string): string => {
  try {
    return decodeURIComponent(value);
  } catch {
    // Whoever wrote it meant it as it stands: it is no percent-encoding.
    return value;
  }
};

/** @throws {LockstepError} BAD_REQUEST */
export const putOptionsOf = (headers: IncomingHttpHeaders): PutOptions => {
  const options: PutOptions = {};
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(META) && value !== undefined) metadata[name.slice(META.length)] = decode(String(value));
  }
  if (Object.keys(metadata).length > 0) options.metadata = metadata;
  const { "content-type": contentType, "if-match": ifMatch, "if-none-match": ifNoneMatch, "idempotency-key": idempotencyKey } = headers;
  if (contentType !== undefined) options.contentType = contentType;
  if (ifMatch !== undefined) options.ifMatch = ifMatch;
  if (ifNoneMatch !== undefined && ifNoneMatch !== "*") throw wrong("If-None-Match", 'must be "*" for a PUT');
  if (ifNoneMatch !== undefined) options.ifNoneMatch = "*";
  if (idempotencyKey !== undefined) options.idempotencyKey = String(idempotencyKey);
  return options;
};

/** The range that is asked for; `undefined` for none, and for several or another unit, which are not obliged to be served. */
export const rangeOf = (header: string | undefined): ByteRange | undefined => {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? "");
  if (match === null) return undefined;
  const [, start = "", end = ""] = match;
  if (start === "") return end === "" ? undefined : { start: -Number(end) };
  return end === "" ? { start: Number(start) } : { start: Number(start), end: Number(end) };
};

/** The object that `x-lockstep-copy-source` names, as `bucket/key` with percent-encoding. @throws {LockstepError} BAD_REQUEST */
export const copySourceOf = (header: string): { bucket: string; key: string } => {
  const source = decode(header.replace(/^\//, ""));
  const slash = source.indexOf("/");
  if (slash > 0 && slash < source.length - 1) return { bucket: source.slice(0, slash), key: source.slice(slash + 1) };
  throw wrong("x-lockstep-copy-source", "must be bucket/key");
};

export const wrong = (header: string, what: string): LockstepError =>
  new LockstepError("BAD_REQUEST", `the header ${header} ${what}`, { details: { field: header, in: "header" } });

/** Whether one of the etags in a conditional header is that of the object. */
export const namesEtag = (header: string, etag: string): boolean =>
  header === "*" || header.split(",").some((one) => one.trim().replace(/^W\//, "") === etag);

export const describe = (reply: FastifyReply, info: ObjectInfo): void => {
  reply.headers({
    etag: info.etag,
    "last-modified": new Date(info.modifiedAt).toUTCString(),
    "accept-ranges": "bytes",
    "x-lockstep-version": info.version,
    // What somebody has put must not act in the platform's name in the browser of whoever looks at it.
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox",
  });
  for (const [name, value] of Object.entries(info.metadata)) reply.header(META + name, encode(value));
};
