/** What a test puts into the platform's storage and finds there, as a client of a real platform does. */
import type { StateRecord } from "../application/context.ts";
import { fromJson, toJson } from "../lib/json.ts";
import type { ControlPlane } from "../protocol/control-plane.ts";
import type { PlatformEvent } from "../protocol/events.ts";
import type { StateEntry } from "../protocol/state.ts";

/** Bytes, text, or anything else as JSON. */
export type TestContent = string | Uint8Array | object;

/** Puts an object. @returns the version it has now */
export const putObject = async ({ objects }: ControlPlane, bucket: string, key: string, content: TestContent): Promise<string> => {
  const isRaw = typeof content === "string" || content instanceof Uint8Array;
  const bytes = Buffer.from(isRaw ? content : toJson(content, `the object ${bucket}/${key}`));
  async function* body(): AsyncGenerator<Uint8Array> {
    yield bytes;
  }
  const { version } = await objects.put(bucket, key, body(), isRaw ? {} : { contentType: "application/json" });
  return version;
};

/** Whether a run with this input was started by the PUT of this version of an object. */
export const isStartedBy = (input: string, version: string): boolean => {
  const event = fromJson(input) as Partial<PlatformEvent & { object: { version: string } }> | null;
  return event?.type === "object.put" && event.object?.version === version;
};

export const recordOf = <Value>({ key, value, version, stale }: StateEntry): StateRecord<Value> => ({
  key,
  value: version === 0 ? undefined : (fromJson(value) as Value),
  version,
  freshness: stale === undefined ? { stale: false } : { stale: true, ...stale },
});
