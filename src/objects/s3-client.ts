/**
 * The requests to S3 that the store is made of, one method each. Owns: the SDK, names of buckets there, and how facts of objects are written
 * in S3's metadata. Every method rejects with errors of the catalogue.
 */
import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import type * as Sdk from "@aws-sdk/client-s3";
import { LockstepError } from "../lib/errors.ts";
import type { ByteRange, ObjectInfo } from "../protocol/objects.ts";
import type { Content, ObjectPlace } from "./port.ts";
import { isMissing, nameOfError, s3Error } from "./s3-errors.ts";

export interface S3Options {
  /** Default: that of AWS in the region. */
  endpoint?: string;
  /** Default: the environment's, else `us-east-1`. */
  region?: string;
  /** Put before the names of buckets: `acme-` keeps the bucket `orders` in `acme-orders`. Default: nothing. */
  bucketPrefix?: string;
  /** Buckets are named in paths instead of host names. Default: true when an endpoint is given. */
  forcePathStyle?: boolean;
  /** The longest time without any sign of life from S3. Default 30,000. */
  timeoutMs?: number;
  /** How often a request is tried before it counts as failed. Default 3. */
  attempts?: number;
}

/** An upload in parts that waits to be completed. */
export interface S3Upload {
  id: string;
  parts: string[];
}

export interface S3Published {
  etag: string;
  /** Where the bucket has versions. */
  versionId: string | undefined;
}

export interface S3Facts {
  versionId: string | undefined;
  info: ObjectInfo;
  put: string | undefined;
  /** Which of our publications has made it; `undefined`: somebody else has. */
  publication: string | undefined;
}

const CONNECT_MS = 5_000;
const ID = "lockstep-id";
const AT = "lockstep-at";
const PUT = "lockstep-put";

/** @throws {LockstepError} STORAGE_UNAVAILABLE when the SDK is not installed */
export const openS3 = async (options: S3Options): Promise<S3Client> => {
  let sdk: typeof Sdk;
  try {
    sdk = await import("@aws-sdk/client-s3");
  } catch (cause) {
    const message = "objects in S3 need the package @aws-sdk/client-s3: install it beside lockstep";
    throw new LockstepError("STORAGE_UNAVAILABLE", message, { cause, details: { passing: false } });
  }
  return new S3Client(sdk, options);
};

export class S3Client {
  readonly #sdk: typeof Sdk;
  readonly #client: Sdk.S3Client;
  readonly #prefix: string;

  constructor(sdk: typeof Sdk, options: S3Options) {
    const { endpoint, timeoutMs = 30_000, attempts = 3, bucketPrefix = "" } = options;
    const region = options.region ?? process.env.AWS_REGION ?? process.env.AWS_DEFAULT_REGION ?? "us-east-1";
    this.#sdk = sdk;
    this.#prefix = bucketPrefix;
    this.#client = new sdk.S3Client({
      region,
      ...(endpoint === undefined ? {} : { endpoint }),
      forcePathStyle: options.forcePathStyle ?? endpoint !== undefined,
      maxAttempts: attempts,
      requestHandler: { connectionTimeout: CONNECT_MS, requestTimeout: timeoutMs, throwOnRequestTimeout: true, socketTimeout: timeoutMs },
      // Parts carry Content-MD5, which all servers check; the newer checksums are not known everywhere.
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
    });
  }

  close(): void {
    this.#client.destroy();
  }

  /** Makes the bucket unless there is one. */
  async ensureBucket(bucket: string): Promise<void> {
    const Bucket = this.#bucket(bucket);
    try {
      await this.#client.send(new this.#sdk.HeadBucketCommand({ Bucket }));
    } catch (error) {
      if (!isMissing(error)) throw s3Error(error, { bucket });
      await this.#client.send(new this.#sdk.CreateBucketCommand({ Bucket })).catch((failure: unknown) => {
        if (nameOfError(failure) !== "BucketAlreadyOwnedByYou") throw s3Error(failure, { bucket });
      });
    }
  }

  async begin(place: ObjectPlace, content: Content, publication: string, at: number): Promise<string> {
    const command = new this.#sdk.CreateMultipartUploadCommand({
      ...this.#at(place),
      ContentType: content.contentType,
      Metadata: metadataOf(content, publication, at),
    });
    const { UploadId } = await asked(place, this.#client.send(command));
    return UploadId as string;
  }

  /** Gives the part's etag. */
  async part(place: ObjectPlace, upload: string, number: number, bytes: Buffer): Promise<string> {
    const ContentMD5 = createHash("md5").update(bytes).digest("base64");
    const command = new this.#sdk.UploadPartCommand({
      ...this.#at(place),
      UploadId: upload,
      PartNumber: number,
      Body: bytes,
      ContentLength: bytes.length,
      ContentMD5,
    });
    return (await asked(place, this.#client.send(command))).ETag as string;
  }

  async copyPart(
    from: ObjectPlace,
    to: ObjectPlace,
    upload: string,
    number: number,
    part: Required<ByteRange>,
    etag: string,
  ): Promise<string> {
    const command = new this.#sdk.UploadPartCopyCommand({
      ...this.#at(to),
      UploadId: upload,
      PartNumber: number,
      CopySource: `${this.#bucket(from.bucket)}/${encodeURIComponent(from.key)}`,
      CopySourceRange: `bytes=${part.start}-${part.end}`,
      CopySourceIfMatch: etag,
    });
    return (await asked(to, this.#client.send(command))).CopyPartResult?.ETag as string;
  }

  /** `undefined`: there is no such upload, or no more. */
  async complete(
    place: ObjectPlace,
    { id, parts }: S3Upload,
    condition: { ifMatch?: string; ifNoneMatch?: "*" },
  ): Promise<S3Published | undefined> {
    const command = new this.#sdk.CompleteMultipartUploadCommand({
      ...this.#at(place),
      UploadId: id,
      MultipartUpload: { Parts: parts.map((ETag, i) => ({ ETag, PartNumber: i + 1 })) },
      ...(condition.ifMatch === undefined ? {} : { IfMatch: condition.ifMatch }),
      ...(condition.ifNoneMatch === undefined ? {} : { IfNoneMatch: condition.ifNoneMatch }),
    });
    try {
      const { ETag, VersionId } = await this.#client.send(command);
      return { etag: ETag as string, versionId: real(VersionId) };
    } catch (error) {
      if (nameOfError(error) === "NoSuchUpload") return undefined;
      throw s3Error(error, place);
    }
  }

  async abort(place: ObjectPlace, upload: string): Promise<void> {
    try {
      await this.#client.send(new this.#sdk.AbortMultipartUploadCommand({ ...this.#at(place), UploadId: upload }));
    } catch (error) {
      if (!isMissing(error)) throw s3Error(error, place);
    }
  }

  async head(place: ObjectPlace): Promise<S3Facts | undefined> {
    try {
      const found = await this.#client.send(new this.#sdk.HeadObjectCommand(this.#at(place)));
      return factsOf(place, found, found.ContentLength ?? 0);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw s3Error(error, place);
    }
  }

  /** `undefined`: there is no such object. */
  async get(
    place: ObjectPlace,
    range: ByteRange | undefined,
  ): Promise<{ facts: S3Facts; range?: Required<ByteRange>; body: Readable } | undefined> {
    const Range = range === undefined ? undefined : rangeText(range);
    try {
      const found = await this.#client.send(
        new this.#sdk.GetObjectCommand({ ...this.#at(place), ...(Range === undefined ? {} : { Range }) }),
      );
      const [, start, end, size] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(found.ContentRange ?? "") ?? [];
      const facts = factsOf(place, found, size === undefined ? (found.ContentLength ?? 0) : Number(size));
      const part = start === undefined ? undefined : { start: Number(start), end: Number(end) };
      return { facts, body: found.Body as Readable, ...(part === undefined ? {} : { range: part }) };
    } catch (error) {
      if (nameOfError(error) === "NoSuchKey") return undefined;
      throw s3Error(error, place);
    }
  }

  async list(
    bucket: string,
    { prefix, after, limit }: { prefix: string; after?: string; limit: number },
  ): Promise<{ objects: ObjectInfo[]; more: boolean }> {
    const command = new this.#sdk.ListObjectsV2Command({
      Bucket: this.#bucket(bucket),
      Prefix: prefix,
      MaxKeys: limit,
      EncodingType: "url",
      ...(after === undefined ? {} : { StartAfter: after }),
    });
    const { Contents = [], IsTruncated = false } = await asked({ bucket }, this.#client.send(command));
    const objects = Contents.map(({ Key = "", Size = 0, ETag = "", LastModified }): ObjectInfo => {
      const key = decodeURIComponent(Key.replaceAll("+", " "));
      const version = ETag.replaceAll('"', "");
      return { bucket, key, version, size: Size, etag: ETag, contentType: "", metadata: {}, modifiedAt: LastModified?.getTime() ?? 0 };
    });
    return { objects, more: IsTruncated };
  }

  /** Uploads that were begun before `before` (Unix ms) and never completed; at most 1,000. */
  async uploads(bucket: string, before: number): Promise<{ key: string; id: string }[]> {
    const command = new this.#sdk.ListMultipartUploadsCommand({ Bucket: this.#bucket(bucket) });
    const { Uploads = [] } = await asked({ bucket }, this.#client.send(command));
    return Uploads.filter(({ Initiated }) => (Initiated?.getTime() ?? before) < before).map(({ Key = "", UploadId = "" }) => ({
      key: Key,
      id: UploadId,
    }));
  }

  async delete(place: ObjectPlace): Promise<void> {
    await asked(place, this.#client.send(new this.#sdk.DeleteObjectCommand(this.#at(place))));
  }

  /** Our name of a bucket of S3; `undefined` for one of somebody else's. */
  bucketOf(name: string): string | undefined {
    return name.startsWith(this.#prefix) ? name.slice(this.#prefix.length) : undefined;
  }

  #at({ bucket, key }: ObjectPlace): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket(bucket), Key: key };
  }

  #bucket(bucket: string): string {
    const name = `${this.#prefix}${bucket}`;
    if (name.length <= LONGEST_BUCKET) return name;
    throw new LockstepError("BUCKET_NAME_INVALID", `the bucket ${bucket} would be ${name} in S3, which is longer than ${LONGEST_BUCKET}`);
  }
}

const LONGEST_BUCKET = 63;

const asked = async <T>(of: { bucket: string; key?: string }, answer: Promise<T>): Promise<T> => {
  try {
    return await answer;
  } catch (error) {
    throw s3Error(error, of);
  }
};

const rangeText = ({ start, end }: ByteRange): string => {
  if (start < 0) return `bytes=${start}`;
  if (end !== undefined && end < start) throw new LockstepError("RANGE_NOT_SATISFIABLE", `there is nothing from byte ${start} to ${end}`);
  return `bytes=${start}-${end ?? ""}`;
};

/** Headers are ASCII: what is not, and the percent sign itself, is percent-encoded. */
const encode = (value: string): string => value.replaceAll(/[^\x20-\x24\x26-\x7e]+|^ | $/g, encodeURIComponent);

const decode = (value: string): string => {
  try {
    return decodeURIComponent(value);
  } catch {
    // Written by somebody else, as it stands.
    return value;
  }
};

const metadataOf = ({ metadata, put }: Content, publication: string, at: number): Record<string, string> => ({
  ...Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, encode(value)])),
  [ID]: publication,
  [AT]: String(at),
  ...(put === undefined ? {} : { [PUT]: encode(put) }),
});

interface Described {
  ETag?: string | undefined;
  VersionId?: string | undefined;
  ContentType?: string | undefined;
  LastModified?: Date | undefined;
  Metadata?: Record<string, string> | undefined;
}

const factsOf = ({ bucket, key }: ObjectPlace, found: Described, size: number): S3Facts => {
  const { ETag = "", VersionId, ContentType = "", LastModified, Metadata = {} } = found;
  const versionId = real(VersionId);
  const { [ID]: publication, [AT]: at, [PUT]: put, ...metadata } = Metadata;
  const info: ObjectInfo = {
    bucket,
    key,
    version: versionOf(versionId, publication, ETag),
    size,
    etag: ETag,
    contentType: ContentType,
    metadata: Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, decode(value)])),
    modifiedAt: at === undefined ? (LastModified?.getTime() ?? 0) : Number(at),
  };
  return { info, versionId, publication, put: put === undefined ? undefined : decode(put) };
};

/** S3's own where the bucket has versions, else the name of our publication, else, for what others have put, the etag. */
export const versionOf = (versionId: string | undefined, publication: string | undefined, etag: string): string =>
  versionId ?? publication ?? etag.replaceAll('"', "");

/** Objects that were put before their bucket had versions are all of the version "null". */
const real = (versionId: string | undefined): string | undefined => (versionId === "null" ? undefined : versionId);
