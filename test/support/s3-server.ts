/**
 * An S3 server in memory, for tests: what stores and functions use of the protocol, as its documentation tells it. Signatures are not
 * checked. Requests can be made to fail, to hang, or to be cut off, before or after they have had their effect.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

interface Stored {
  bytes: Buffer;
  etag: string;
  contentType: string;
  metadata: Record<string, string>;
  modified: Date;
  versionId: string | undefined;
}

interface Upload {
  bucket: string;
  key: string;
  contentType: string;
  metadata: Record<string, string>;
  parts: Map<number, { bytes: Buffer; etag: string }>;
  initiated: Date;
}

/** The name that S3 has for what a request asks for. */
export type S3Operation =
  | "CreateBucket"
  | "HeadBucket"
  | "DeleteBucket"
  | "ListObjectsV2"
  | "ListMultipartUploads"
  | "PutObject"
  | "CopyObject"
  | "GetObject"
  | "HeadObject"
  | "DeleteObject"
  | "CreateMultipartUpload"
  | "UploadPart"
  | "UploadPartCopy"
  | "CompleteMultipartUpload"
  | "AbortMultipartUpload";

export interface S3Request {
  operation: S3Operation;
  bucket: string;
  key: string;
  query: URLSearchParams;
  headers: IncomingMessage["headers"];
}

/** `after`: the request has its effect, and only its answer is lost. */
export type S3Fault = { code: string; status: number } | "hang" | "reset" | { after: "hang" | "reset" };

export interface S3Notification {
  Records: { eventName: string; s3: { bucket: { name: string }; object: Record<string, unknown> } }[];
}

const ERRORS: Record<string, number> = {
  NoSuchBucket: 404,
  NoSuchKey: 404,
  NoSuchUpload: 404,
  PreconditionFailed: 412,
  InvalidRange: 416,
  InvalidBucketName: 400,
  InvalidPart: 400,
  InvalidArgument: 400,
  EntityTooSmall: 400,
  BadDigest: 400,
  KeyTooLongError: 400,
  MetadataTooLarge: 400,
  BucketNotEmpty: 409,
  BucketAlreadyOwnedByYou: 409,
  NotImplemented: 501,
};

class S3Error extends Error {
  readonly code: string;
  readonly status: number;

  constructor(code: string, status = ERRORS[code] ?? 400) {
    super(code);
    this.code = code;
    this.status = status;
  }
}

interface Answer {
  status: number;
  headers?: Record<string, string>;
  body?: Buffer | string;
}

const SMALLEST_PART = 5 * 1024 * 1024;

export class S3Server {
  readonly buckets = new Map<string, Map<string, Stored>>();
  readonly uploads = new Map<string, Upload>();
  /** What was asked, in order. */
  readonly requests: S3Request[] = [];
  /** What the server would have told a webhook. */
  readonly notifications: S3Notification[] = [];
  /** Asked for each request. */
  fault: (request: S3Request) => S3Fault | undefined = () => undefined;
  versioned = false;
  readonly #server: Server;
  #sequence = 0;

  private constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  static async start(): Promise<S3Server> {
    const server = new S3Server();
    await new Promise<void>((resolve) => server.#server.listen(0, "127.0.0.1", resolve));
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  operations(): S3Operation[] {
    return this.requests.map(({ operation }) => operation);
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of incoming) chunks.push(chunk as Buffer);
    } catch {
      // The client has gone: nobody waits for an answer.
      return;
    }
    const request = requestOf(incoming);
    this.requests.push(request);
    const fault = this.fault(request);
    if (fault === "hang") return;
    if (fault === "reset") return void incoming.socket.destroy();
    const answer = this.#answer(request, Buffer.concat(chunks), fault !== undefined && "code" in fault ? fault : undefined);
    if (fault !== undefined && "after" in fault) return fault.after === "reset" ? void incoming.socket.destroy() : undefined;
    response.writeHead(answer.status, { "x-amz-request-id": String(this.requests.length), ...answer.headers });
    response.end(incoming.method === "HEAD" ? undefined : answer.body);
  }

  #answer(request: S3Request, body: Buffer, fault: { code: string; status: number } | undefined): Answer {
    try {
      if (fault !== undefined) throw new S3Error(fault.code, fault.status);
      return this.#carryOut(request, body);
    } catch (error) {
      if (!(error instanceof S3Error)) throw error;
      const text = xml("Error", `<Code>${error.code}</Code><Message>${error.code}</Message><RequestId>1</RequestId>`);
      return { status: error.status, headers: { "content-type": "application/xml" }, body: text };
    }
  }

  #carryOut(request: S3Request, body: Buffer): Answer {
    const { operation, bucket, key, query, headers } = request;
    if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)) throw new S3Error("InvalidBucketName");
    if (Buffer.byteLength(key) > 1_024) throw new S3Error("KeyTooLongError");
    if (headers["content-encoding"]?.includes("aws-chunked")) throw new S3Error("NotImplemented");
    if (headers["content-md5"] !== undefined && md5(body).toString("base64") !== headers["content-md5"]) throw new S3Error("BadDigest");
    switch (operation) {
      case "CreateBucket":
        if (this.buckets.has(bucket)) throw new S3Error("BucketAlreadyOwnedByYou");
        this.buckets.set(bucket, new Map());
        return { status: 200 };
      case "HeadBucket":
        this.#bucket(bucket);
        return { status: 200 };
      case "DeleteBucket":
        if (this.#bucket(bucket).size > 0) throw new S3Error("BucketNotEmpty");
        this.buckets.delete(bucket);
        return { status: 204 };
      case "ListObjectsV2":
        return this.#list(bucket, query);
      case "ListMultipartUploads":
        return this.#listUploads(bucket);
      case "PutObject": {
        const stored = this.#put(request, { bytes: body, etag: quoted(md5(body)), ...contentOf(headers) });
        return { status: 200, headers: { etag: stored.etag, ...versionOf(stored) } };
      }
      case "CopyObject": {
        const source = this.#source(headers);
        const content = headers["x-amz-metadata-directive"] === "REPLACE" ? contentOf(headers) : source;
        const { contentType, metadata } = content;
        const stored = this.#put(request, { bytes: source.bytes, etag: quoted(md5(source.bytes)), contentType, metadata });
        return {
          status: 200,
          headers: versionOf(stored),
          body: xml(
            "CopyObjectResult",
            `<ETag>${escaped(stored.etag)}</ETag><LastModified>${stored.modified.toISOString()}</LastModified>`,
          ),
        };
      }
      case "GetObject":
        return this.#get(this.#object(bucket, key), headers);
      case "HeadObject": {
        const stored = this.#object(bucket, key);
        checkConditions(stored, headers);
        return { status: 200, headers: { ...factsOf(stored), "content-length": String(stored.bytes.length) } };
      }
      case "DeleteObject":
        this.#delete(bucket, key);
        return { status: 204 };
      case "CreateMultipartUpload":
      case "UploadPart":
      case "UploadPartCopy":
      case "CompleteMultipartUpload":
      case "AbortMultipartUpload":
        return this.#multipart(request, body);
    }
  }

  // ---------------------------------------------------------------- objects

  #bucket(bucket: string): Map<string, Stored> {
    const objects = this.buckets.get(bucket);
    if (objects === undefined) throw new S3Error("NoSuchBucket");
    return objects;
  }

  #object(bucket: string, key: string): Stored {
    const stored = this.#bucket(bucket).get(key);
    if (stored === undefined) throw new S3Error("NoSuchKey");
    return stored;
  }

  #source(headers: IncomingMessage["headers"]): Stored {
    const [, bucket = "", key = ""] = /^\/?([^/]+)\/(.+)$/.exec(String(headers["x-amz-copy-source"])) ?? [];
    return this.#object(bucket, decodeURIComponent(key));
  }

  #put({ bucket, key, headers }: S3Request, what: Pick<Stored, "bytes" | "etag" | "contentType" | "metadata">): Stored {
    const objects = this.#bucket(bucket);
    const there = objects.get(key);
    if (headers["if-none-match"] === "*" && there !== undefined) throw new S3Error("PreconditionFailed");
    if (headers["if-match"] !== undefined && there?.etag !== headers["if-match"]) throw new S3Error("PreconditionFailed");
    if (JSON.stringify(what.metadata).length > 2_500) throw new S3Error("MetadataTooLarge");
    // As exact as S3's headers tell it: to the second.
    const modified = new Date(Math.floor(Date.now() / 1_000) * 1_000);
    const stored: Stored = { ...what, modified, versionId: this.versioned ? `v${++this.#sequence}` : undefined };
    objects.set(key, stored);
    this.#notify("ObjectCreated:Put", bucket, key, stored);
    return stored;
  }

  #delete(bucket: string, key: string): void {
    const objects = this.#bucket(bucket);
    const there = objects.get(key);
    objects.delete(key);
    if (there !== undefined) this.#notify("ObjectRemoved:Delete", bucket, key, there);
  }

  #notify(eventName: string, bucket: string, key: string, { bytes, etag, versionId }: Stored): void {
    const sequencer = (++this.#sequence).toString(16).toUpperCase().padStart(16, "0");
    const facts = eventName.startsWith("ObjectCreated") ? { size: bytes.length, eTag: etag.replaceAll('"', "") } : {};
    const version = versionId === undefined ? {} : { versionId };
    const name = encodeURIComponent(key).replaceAll("%20", "+").replaceAll("%2F", "/");
    const object = { key: name, ...facts, ...version, sequencer };
    this.notifications.push({ Records: [{ eventName, s3: { bucket: { name: bucket }, object } }] });
  }

  #get(stored: Stored, headers: IncomingMessage["headers"]): Answer {
    checkConditions(stored, headers);
    const { bytes } = stored;
    const match = /^bytes=(\d*)-(\d*)$/.exec(headers.range ?? "");
    if (match === null) return { status: 200, headers: { ...factsOf(stored), "content-length": String(bytes.length) }, body: bytes };
    const [, first = "", last = ""] = match;
    const start = first === "" ? Math.max(0, bytes.length - Number(last)) : Number(first);
    const end = first === "" || last === "" ? bytes.length - 1 : Math.min(Number(last), bytes.length - 1);
    if (start >= bytes.length || end < start) throw new S3Error("InvalidRange");
    const part = bytes.subarray(start, end + 1);
    const range = { "content-range": `bytes ${start}-${end}/${bytes.length}`, "content-length": String(part.length) };
    return { status: 206, headers: { ...factsOf(stored), ...range }, body: part };
  }

  #list(bucket: string, query: URLSearchParams): Answer {
    const prefix = query.get("prefix") ?? "";
    const after = Buffer.from(query.get("continuation-token") ?? query.get("start-after") ?? "");
    const limit = Math.min(1_000, Number(query.get("max-keys") ?? 1_000));
    const encode = query.get("encoding-type") === "url" ? encodeURIComponent : escaped;
    const keys = [...this.#bucket(bucket).keys()]
      .filter((key) => key.startsWith(prefix) && Buffer.compare(Buffer.from(key), after) > 0)
      .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    const contents = keys.slice(0, limit).map((key) => {
      const { etag, bytes, modified } = this.#object(bucket, key);
      return `<Contents><Key>${encode(key)}</Key><LastModified>${modified.toISOString()}</LastModified><ETag>${escaped(etag)}</ETag><Size>${bytes.length}</Size></Contents>`;
    });
    const truncated = keys.length > limit;
    const next = truncated ? `<NextContinuationToken>${escaped(keys[limit - 1] as string)}</NextContinuationToken>` : "";
    const head = `<Name>${bucket}</Name><KeyCount>${contents.length}</KeyCount><IsTruncated>${truncated}</IsTruncated>${next}`;
    return { status: 200, headers: { "content-type": "application/xml" }, body: xml("ListBucketResult", head + contents.join("")) };
  }

  // ---------------------------------------------------------------- uploads in parts

  #listUploads(bucket: string): Answer {
    this.#bucket(bucket);
    const uploads = [...this.uploads].filter(([, upload]) => upload.bucket === bucket);
    const rows = uploads.map(
      ([id, { key, initiated }]) =>
        `<Upload><Key>${escaped(key)}</Key><UploadId>${id}</UploadId><Initiated>${initiated.toISOString()}</Initiated></Upload>`,
    );
    return { status: 200, body: xml("ListMultipartUploadsResult", `<IsTruncated>false</IsTruncated>${rows.join("")}`) };
  }

  #multipart(request: S3Request, body: Buffer): Answer {
    const { operation, bucket, key, query, headers } = request;
    if (operation === "CreateMultipartUpload") {
      this.#bucket(bucket);
      const id = `upload-${++this.#sequence}`;
      this.uploads.set(id, { bucket, key, ...contentOf(headers), parts: new Map(), initiated: new Date() });
      const text = `<Bucket>${bucket}</Bucket><Key>${escaped(key)}</Key><UploadId>${id}</UploadId>`;
      return { status: 200, body: xml("InitiateMultipartUploadResult", text) };
    }
    const id = query.get("uploadId") ?? "";
    const upload = this.uploads.get(id);
    if (upload === undefined || upload.bucket !== bucket || upload.key !== key) throw new S3Error("NoSuchUpload");
    if (operation === "AbortMultipartUpload") {
      this.uploads.delete(id);
      return { status: 204 };
    }
    if (operation === "CompleteMultipartUpload") return this.#complete(request, id, upload, body.toString());
    const bytes = operation === "UploadPart" ? body : partOf(this.#source(headers).bytes, headers);
    const etag = quoted(md5(bytes));
    upload.parts.set(Number(query.get("partNumber")), { bytes, etag });
    if (operation === "UploadPart") return { status: 200, headers: { etag } };
    return { status: 200, body: xml("CopyPartResult", `<ETag>${escaped(etag)}</ETag>`) };
  }

  #complete(request: S3Request, id: string, upload: Upload, text: string): Answer {
    const wanted = [...text.matchAll(/<Part>(.*?)<\/Part>/gs)].map(([, part = ""]) => ({
      number: Number(/<PartNumber>(\d+)</.exec(part)?.[1]),
      etag: (/<ETag>(.*?)</.exec(part)?.[1] ?? "").replaceAll("&quot;", '"'),
    }));
    if (wanted.length === 0) throw new S3Error("InvalidArgument");
    const parts = wanted.map(({ number, etag }, i) => {
      const part = upload.parts.get(number);
      if (part === undefined || part.etag !== etag) throw new S3Error("InvalidPart");
      if (i < wanted.length - 1 && part.bytes.length < SMALLEST_PART) throw new S3Error("EntityTooSmall");
      return part;
    });
    const digest = md5(Buffer.concat(parts.map(({ bytes }) => md5(bytes))));
    const etag = `"${digest.toString("hex")}-${parts.length}"`;
    const { contentType, metadata } = upload;
    const stored = this.#put(request, { bytes: Buffer.concat(parts.map(({ bytes }) => bytes)), etag, contentType, metadata });
    this.uploads.delete(id);
    return { status: 200, headers: versionOf(stored), body: xml("CompleteMultipartUploadResult", `<ETag>${escaped(etag)}</ETag>`) };
  }
}

const requestOf = ({ method = "", url = "", headers }: IncomingMessage): S3Request => {
  // Not by `new URL`, which would take "a/../b" for "b".
  const [path = "", search = ""] = url.split("?", 2);
  const [, bucket = "", key = ""] = /^\/([^/]*)\/?(.*)$/s.exec(path) ?? [];
  const query = new URLSearchParams(search);
  const request = { bucket: decodeURIComponent(bucket), key: decodeURIComponent(key), query, headers };
  return { ...request, operation: operationOf(method, request.key, query, headers) };
};

const operationOf = (method: string, key: string, query: URLSearchParams, headers: IncomingMessage["headers"]): S3Operation => {
  const copies = headers["x-amz-copy-source"] !== undefined;
  const found: Record<string, S3Operation> =
    key === ""
      ? {
          PUT: "CreateBucket",
          HEAD: "HeadBucket",
          DELETE: "DeleteBucket",
          GET: query.has("uploads") ? "ListMultipartUploads" : "ListObjectsV2",
        }
      : query.has("uploadId")
        ? { PUT: copies ? "UploadPartCopy" : "UploadPart", POST: "CompleteMultipartUpload", DELETE: "AbortMultipartUpload" }
        : {
            POST: "CreateMultipartUpload",
            PUT: copies ? "CopyObject" : "PutObject",
            GET: "GetObject",
            HEAD: "HeadObject",
            DELETE: "DeleteObject",
          };
  const operation = found[method];
  if (operation === undefined) throw new Error(`the test's S3 server does not know ${method} of ${key}?${query}`);
  return operation;
};

const checkConditions = ({ etag }: Stored, headers: IncomingMessage["headers"]): void => {
  if (headers["if-match"] !== undefined && headers["if-match"] !== etag) throw new S3Error("PreconditionFailed");
};

const partOf = (bytes: Buffer, headers: IncomingMessage["headers"]): Buffer => {
  const match = /^bytes=(\d+)-(\d+)$/.exec(String(headers["x-amz-copy-source-range"] ?? ""));
  if (match === null) return bytes;
  if (Number(match[2]) >= bytes.length) throw new S3Error("InvalidArgument");
  return bytes.subarray(Number(match[1]), Number(match[2]) + 1);
};

const contentOf = (headers: IncomingMessage["headers"]): Pick<Stored, "contentType" | "metadata"> => {
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith("x-amz-meta-")) metadata[name.slice("x-amz-meta-".length)] = String(value);
  }
  return { contentType: headers["content-type"] ?? "binary/octet-stream", metadata };
};

const factsOf = (stored: Stored): Record<string, string> => ({
  etag: stored.etag,
  "content-type": stored.contentType,
  "last-modified": stored.modified.toUTCString(),
  "accept-ranges": "bytes",
  ...versionOf(stored),
  ...Object.fromEntries(Object.entries(stored.metadata).map(([name, value]) => [`x-amz-meta-${name}`, value])),
});

const versionOf = ({ versionId }: Stored): Record<string, string> => (versionId === undefined ? {} : { "x-amz-version-id": versionId });

const md5 = (bytes: Buffer): Buffer => createHash("md5").update(bytes).digest();

const quoted = (digest: Buffer): string => `"${digest.toString("hex")}"`;

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

const xml = (name: string, body: string): string =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<${name} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${body}</${name}>`;
