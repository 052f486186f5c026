/** Buckets and objects. Bodies are streams in both directions: nothing here holds more than a chunk of one. */
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Static } from "typebox";
import { type ErrorCode, LockstepError } from "../lib/errors.ts";
import type { ByteRange, ObjectInfo } from "../protocol/objects.ts";
import { pageOf, ref } from "./answers.ts";
import { parseBody } from "./json-body.ts";
import { copySourceOf, describe, namesEtag, putOptionsOf, rangeOf } from "./object-headers.ts";
import type { Route, RouteContext } from "./route.ts";
import { sendJson } from "./route.ts";
import { BucketParams, ObjectParams, ObjectsQuery } from "./schemas.ts";

const tag = "objects";
const PATH = "/v1/buckets/:bucket/objects/*key";
const STORAGE: readonly ErrorCode[] = ["STORAGE_UNAVAILABLE", "BUCKET_NAME_INVALID", "UNKNOWN_BUCKET"];
const OBJECT: readonly ErrorCode[] = [...STORAGE, "OBJECT_KEY_INVALID"];
const CHANGES: readonly ErrorCode[] = ["PRECONDITION_FAILED", "STORAGE_FULL", "PAYLOAD_TOO_LARGE", "OVERLOADED"];

const text = (description: string) => ({ type: "string", description }) as const;
const one = (name: string, type: string) => ({ type: "object", properties: { [name]: { type } }, required: [name] });
const FACTS = {
  etag: "Of the object's bytes.",
  "last-modified": "When it was put.",
  "x-lockstep-version": "Another one for each PUT.",
  "x-lockstep-meta-*": "Its metadata, percent-encoded where they are not ASCII.",
};

const MAX_LEFT_BYTES = 1024 * 1024;

type Place = Static<typeof ObjectParams>;

const placeOf = (request: FastifyRequest): Place => request.params as Place;

export const objectRoutes = (context: RouteContext): Route[] => [
  ...bucketRoutes(context),
  ...readingRoutes(context),
  ...changingRoutes(context),
];

const bucketRoutes = ({ plane, settings }: RouteContext): Route[] => [
  {
    method: "GET",
    path: "/v1/buckets",
    operationId: "listBuckets",
    summary: "List the buckets",
    tag,
    responses: { 200: { description: "All buckets.", schema: pageOf("buckets", { type: "string" }) } },
    handle: async (_, reply) => sendJson(reply, 200, JSON.stringify({ buckets: await plane.objects.buckets() })),
  },
  {
    method: "PUT",
    path: "/v1/buckets/:bucket",
    operationId: "createBucket",
    summary: "Create a bucket",
    tag,
    params: BucketParams,
    responses: { 204: { description: "There is such a bucket." } },
    errors: ["BUCKET_NAME_INVALID", "STORAGE_UNAVAILABLE"],
    handle: async (request, reply) => {
      await plane.objects.createBucket((request.params as Static<typeof BucketParams>).bucket);
      reply.code(204).send();
    },
  },
  {
    method: "POST",
    path: "/v1/buckets/notifications",
    operationId: "notifyObjects",
    summary: "Tell of events of the S3 store",
    tag,
    // Some who send these call JSON plain text.
    raw: true,
    responses: { 200: { description: "What they start is accepted and durable.", schema: one("events", "integer") } },
    errors: ["STORAGE_UNAVAILABLE", "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"],
    handle: async (request, reply) => {
      const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
      const events = await plane.objects.notify(parseBody(body, settings.maxJsonDepth));
      sendJson(reply, 200, JSON.stringify({ events }));
    },
  },
];

const readingRoutes = ({ plane, settings }: RouteContext): Route[] => [
  {
    method: "GET",
    path: "/v1/buckets/:bucket/objects",
    operationId: "listObjects",
    summary: "List the objects of a bucket, in the order of their keys",
    tag,
    params: BucketParams,
    query: ObjectsQuery,
    responses: {
      200: { description: "A page of objects.", schema: pageOf("objects", ref("ObjectInfo"), { "cursor?": { type: "string" } }) },
    },
    errors: [...STORAGE, "OBJECT_KEY_INVALID"],
    handle: async (request, reply) => {
      const { bucket } = request.params as Static<typeof BucketParams>;
      sendJson(reply, 200, JSON.stringify(await plane.objects.list(bucket, request.query as Static<typeof ObjectsQuery>)));
    },
  },
  {
    method: "GET",
    path: PATH,
    operationId: "getObject",
    summary: "Get an object, or a part of it",
    tag,
    params: ObjectParams,
    headers: {
      range: text("One range of bytes, such as `bytes=0-99`, `bytes=100-` or `bytes=-10`."),
      "if-match": text("Answer only if the object has one of these etags."),
      "if-none-match": text("Answer 304 if the object has one of these etags."),
      "if-range": text("Answer with the whole object unless it has this etag."),
    },
    responses: {
      200: { description: "The object.", mediaType: "*/*", schema: {}, headers: FACTS },
      206: { description: "The part.", mediaType: "*/*", schema: {}, headers: { ...FACTS, "content-range": "Which part it is." } },
      304: { description: "The object is the one that the caller has." },
    },
    errors: [...OBJECT, "UNKNOWN_OBJECT", "RANGE_NOT_SATISFIABLE", "OBJECT_CORRUPT", "PRECONDITION_FAILED"],
    handle: async (request, reply) => {
      const { bucket, key } = placeOf(request);
      const range = await rangeWanted(request, () => plane.objects.head(bucket, key));
      const found = await plane.objects.get(bucket, key, range).catch((error: unknown) => tellSize(reply, error));
      describe(reply, found.info);
      if (isSettledByEtag(request, reply, found.info)) return closeBody(found.body);
      sendBody(reply, found, settings.onDefect);
    },
  },
  {
    method: "HEAD",
    path: PATH,
    operationId: "headObject",
    summary: "Tell what is known of an object",
    tag,
    params: ObjectParams,
    responses: {
      200: { description: "What is known, as headers.", headers: { ...FACTS, "content-length": "Its size." } },
      304: { description: "The object is the one that the caller has." },
    },
    errors: [...OBJECT, "UNKNOWN_OBJECT", "PRECONDITION_FAILED"],
    handle: async (request, reply) => {
      const { bucket, key } = placeOf(request);
      const info = await plane.objects.head(bucket, key);
      describe(reply, info);
      if (isSettledByEtag(request, reply, info)) return;
      reply.code(200).header("content-type", info.contentType).header("content-length", String(info.size)).send();
    },
  },
];

const changingRoutes = (context: RouteContext): Route[] => [
  {
    method: "PUT",
    path: PATH,
    operationId: "putObject",
    summary: "Put an object, or copy another one there",
    tag,
    raw: "stream",
    params: ObjectParams,
    headers: {
      "content-type": text("Kept with the object."),
      "x-lockstep-meta-*": text("Kept with the object; percent-encoded where they are not ASCII."),
      "x-lockstep-copy-source": text("`bucket/key` of the object to copy; the request has no body then."),
      "if-match": text("Put only if the object that is there has this etag."),
      "if-none-match": text("`*`: put only if there is no object."),
      "idempotency-key": text("Names this PUT: repeating it, when the object's last PUT was this one, does nothing."),
    },
    responses: { 200: { description: "The object, its event and the runs that it starts are durable.", schema: ref("ObjectInfo") } },
    errors: [...OBJECT, ...CHANGES, "UNKNOWN_OBJECT", "UNSUPPORTED_MEDIA_TYPE"],
    handle: (request, reply) => putObject(context, request, reply),
  },
  {
    method: "DELETE",
    path: PATH,
    operationId: "deleteObject",
    summary: "Delete an object",
    tag,
    params: ObjectParams,
    headers: { "if-match": text("Delete only the object that has this etag.") },
    responses: {
      200: { description: "There is no such object any more.", schema: one("deleted", "boolean") },
    },
    errors: [...OBJECT, "PRECONDITION_FAILED"],
    handle: async (request, reply) => {
      const { bucket, key } = placeOf(request);
      const ifMatch = request.raw.headers["if-match"];
      const deleted = await context.plane.objects.delete(bucket, key, ifMatch === undefined ? {} : { ifMatch });
      sendJson(reply, 200, JSON.stringify({ deleted }));
    },
  },
];

const putObject = async ({ plane, uploads }: RouteContext, request: FastifyRequest, reply: FastifyReply): Promise<void> => {
  const { bucket, key } = placeOf(request);
  const { raw } = request;
  const encoding = raw.headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity") {
    throw new LockstepError("UNSUPPORTED_MEDIA_TYPE", `an object with Content-Encoding ${encoding} is not kept`);
  }
  const source = raw.headers["x-lockstep-copy-source"];
  const end = uploads.begin();
  try {
    const info =
      source === undefined
        ? await plane.objects.put(bucket, key, raw, putOptionsOf(raw.headers))
        : await plane.objects.copy(copySourceOf(String(source)), { bucket, key });
    leaveBody(raw, reply);
    reply.header("etag", info.etag);
    sendJson(reply, 200, JSON.stringify(info));
  } catch (error) {
    leaveBody(raw, reply);
    throw error;
  } finally {
    end();
  }
};

/** What is left of a body that nobody wants is read and thrown away; the connection is given up when that may take long. */
const leaveBody = (raw: IncomingMessage, reply: FastifyReply): void => {
  const { "content-length": length, "transfer-encoding": encoding } = raw.headers;
  const bytes = length === undefined ? (encoding === undefined ? 0 : Number.POSITIVE_INFINITY) : Number(length);
  if (!raw.readableEnded && bytes > MAX_LEFT_BYTES) reply.header("connection", "close");
};

/** The part that is asked for, unless the caller's condition for it does not hold. */
const rangeWanted = async (request: FastifyRequest, head: () => Promise<ObjectInfo>): Promise<ByteRange | undefined> => {
  const { range, "if-range": condition } = request.raw.headers;
  const wanted = rangeOf(range);
  if (wanted === undefined || condition === undefined) return wanted;
  return (await head()).etag === condition ? wanted : undefined;
};

/** Whoever asks for a part that isn't there is told how much is. */
const tellSize = (reply: FastifyReply, error: unknown): never => {
  if (error instanceof LockstepError && error.code === "RANGE_NOT_SATISFIABLE") {
    reply.header("content-range", `bytes */${error.details?.size ?? "*"}`);
  }
  throw error;
};

/** Answers 304 when the caller has the object already. @throws {LockstepError} PRECONDITION_FAILED */
const isSettledByEtag = (request: FastifyRequest, reply: FastifyReply, { bucket, key, etag }: ObjectInfo): boolean => {
  const { "if-match": match, "if-none-match": noneMatch } = request.raw.headers;
  if (match !== undefined && !namesEtag(match, etag)) {
    throw new LockstepError("PRECONDITION_FAILED", `${bucket}/${key} has the etag ${etag}`, { details: { etag } });
  }
  if (noneMatch === undefined || !namesEtag(noneMatch, etag)) return false;
  reply.code(304).send();
  return true;
};

const closeBody = async (body: AsyncIterable<Uint8Array>): Promise<void> => {
  await body[Symbol.asyncIterator]().return?.();
};

const sendBody = (
  reply: FastifyReply,
  { info, range, body }: { info: ObjectInfo; range?: ByteRange; body: AsyncIterable<Uint8Array> },
  onDefect: (error: unknown, where: string) => void,
): void => {
  const { start, end = info.size - 1 } = range ?? { start: 0 };
  const length = end - start + 1;
  const stream = Readable.from(body, { objectMode: false });
  // The headers are gone by then: that the body is cut off before its length is all that the caller can be told.
  stream.once("error", (error) => {
    if (error instanceof LockstepError) onDefect(error, `GET ${info.bucket}/${info.key}`);
  });
  if (range !== undefined) reply.code(206).header("content-range", `bytes ${start}-${end}/${info.size}`);
  reply.header("content-type", info.contentType).header("content-length", String(length)).send(stream);
};
