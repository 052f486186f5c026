/** Event notifications of S3: what they tell, and whether it was told before. Pure. */
import { LockstepError } from "../lib/errors.ts";

export interface S3Told {
  kind: "put" | "deleted";
  /** As S3 calls it. */
  bucket: string;
  key: string;
  size: number;
  /** Without quotes; empty when it wasn't told. */
  etag: string;
  version: string | undefined;
  sequencer: string | undefined;
}

const MAX_RECORDS = 1_000;

/**
 * The events of objects in a notification of AWS, MinIO or another S3; none for those of a kind that says nothing of objects' bytes.
 * @throws {LockstepError} BAD_REQUEST
 */
export const toldBy = (notification: unknown): S3Told[] => {
  const { Records, Type, Message, Event } = partOf(notification);
  // By way of SNS, the notification is the text of a message.
  if (Type === "Notification" && typeof Message === "string") return toldBy(parsed(Message));
  if (Event === "s3:TestEvent") return [];
  if (!Array.isArray(Records) || Records.length > MAX_RECORDS) throw unreadable(`Records must be an array of at most ${MAX_RECORDS}`);
  return Records.flatMap((record, i) => ofRecord(record, `Records[${i}]`));
};

const ofRecord = (record: unknown, at: string): S3Told[] => {
  const { eventName, s3 } = partOf(record);
  if (typeof eventName !== "string") throw unreadable(`${at}.eventName must be text`);
  const name = eventName.replace(/^s3:/, "");
  const kind = name.startsWith("ObjectCreated:") ? "put" : name.startsWith("ObjectRemoved:") ? "deleted" : undefined;
  if (kind === undefined) return [];
  const { bucket, object } = partOf(s3);
  const { name: bucketName } = partOf(bucket);
  const { key, size, eTag, versionId, sequencer } = partOf(object);
  if (typeof bucketName !== "string" || typeof key !== "string" || key === "") throw unreadable(`${at}.s3 must name a bucket and a key`);
  const told = { kind, bucket: bucketName, key: decoded(key, at), size: typeof size === "number" ? size : 0 } as const;
  return [
    { ...told, etag: textOf(eTag).replaceAll('"', ""), version: textOf(versionId) || undefined, sequencer: textOf(sequencer) || undefined },
  ];
};

const partOf = (value: unknown): Record<string, unknown> =>
  typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};

const MAX_TEXT = 1_024;

const textOf = (value: unknown): string => (typeof value === "string" && value.length <= MAX_TEXT ? value : "");

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new LockstepError("BAD_REQUEST", "the notification's Message is no JSON", { cause });
  }
};

const decoded = (key: string, at: string): string => {
  try {
    return decodeURIComponent(key.replaceAll("+", " "));
  } catch (cause) {
    throw new LockstepError("BAD_REQUEST", `the notification's ${at}.s3.object.key holds a wrong percent-encoding`, { cause });
  }
};

const unreadable = (what: string): LockstepError => new LockstepError("BAD_REQUEST", `the notification can't be read: ${what}`);

/** What is remembered of a key, so that nothing is told twice. */
export interface S3Memory {
  /** Changes of our own of which no notification has come yet: a version, an etag, or `deleted`. The oldest first. */
  own: string[];
  /** Notifications that have come. */
  told: string[];
  /** Of the last change: Unix ms. */
  at: number;
}

const REMEMBERED = 64;

const last = (marks: readonly string[], mark: string): string[] => [...marks, mark].slice(-REMEMBERED);

export const ownMark = (change: { etag: string; versionId: string | undefined } | "deleted"): string => {
  if (change === "deleted") return change;
  return change.versionId === undefined ? `e ${change.etag.replaceAll('"', "")}` : `v ${change.versionId}`;
};

/** After a change of our own, whose event we tell ourselves. */
export const afterOwn = (memory: S3Memory | undefined, mark: string, at: number): S3Memory => ({
  own: last(memory?.own ?? [], mark),
  told: memory?.told ?? [],
  at,
});

/**
 * What a notification changes: `undefined` when it came before; `isNew`: it tells of a change that was not ours.
 */
export const afterTold = (memory: S3Memory | undefined, told: S3Told, at: number): { memory: S3Memory; isNew: boolean } | undefined => {
  const { own, told: before }: Pick<S3Memory, "own" | "told"> = memory ?? { own: [], told: [] };
  const mark = `${told.kind} ${told.sequencer ?? told.version ?? told.etag}`;
  if (before.includes(mark)) return undefined;
  const candidates = told.kind === "deleted" ? ["deleted"] : [`v ${told.version}`, `e ${told.etag}`];
  const found = own.findIndex((one) => candidates.includes(one));
  const rest = found < 0 ? own : own.toSpliced(found, 1);
  return { memory: { own: rest, told: last(before, mark), at }, isNew: found < 0 };
};
