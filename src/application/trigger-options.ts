/**
 * What triggers must be.
 *
 * Owns: the form of each trigger, and what is refused. Does not own: how many there may be (options.ts), what fits an event (src/triggers).
 */
import { isBucketName } from "../lib/bucket-name.ts";
import { cronProblem } from "../lib/cron.ts";
import { fitsGlob } from "../lib/glob.ts";
import type { WebhookSignature } from "../protocol/application.ts";
import { EVENT_TYPES } from "../protocol/events.ts";
import { type Fields, isObject, isPath, isText, LONGEST_PATTERN, type Owner, only, refuse, shown } from "./option-refusals.ts";

/** Types of events that one trigger may list. */
const MOST_TYPES = 50;

const FORMS = ["object", "cron", "http", "event", "stale"] as const;

/** Holds one trigger to its form. */
export const checkTrigger = (owner: Owner, trigger: unknown): void => {
  const forms = isObject(trigger) ? FORMS.filter((form) => (trigger as Fields)[form] !== undefined) : [];
  if (forms.length !== 1) {
    refuse(owner, "on", `must be { object }, { cron }, { http }, { event } or { stale }, or an array of these, not ${shown(trigger)}`);
  }
  const form = forms[0] as (typeof FORMS)[number];
  CHECKS[form](owner, trigger as Fields);
};

const checkObject = (owner: Owner, trigger: Fields): void => {
  only(owner, "on", trigger, ["object"]);
  if (!isObject(trigger.object)) refuse(owner, "on.object", 'must be an object such as { bucket: "orders", prefix: "incoming/" }');
  const given = trigger.object as Fields;
  only(owner, "on.object", given, ["bucket", "prefix", "suffix"]);
  if (!isBucketName(given.bucket)) {
    refuse(
      owner,
      "on.object.bucket",
      `must be a bucket's name (3 to 63 lower-case letters, digits, dots and hyphens), not ${shown(given.bucket)}`,
    );
  }
  for (const part of ["prefix", "suffix"]) {
    if (given[part] !== undefined && !isText(given[part], 1_024))
      refuse(owner, `on.object.${part}`, "must be a text of up to 1,024 characters");
  }
};

const checkCron = (owner: Owner, trigger: Fields): void => {
  const { cron, timezone, catchUp } = trigger;
  only(owner, "on", trigger, ["cron", "timezone", "catchUp"]);
  if (typeof cron !== "string") refuse(owner, "on.cron", `must be a text such as "*/5 * * * *", not ${shown(cron)}`);
  const problem = cronProblem(cron as string);
  if (problem !== undefined) refuse(owner, "on.cron", problem);
  if (timezone !== undefined && !isTimezone(timezone)) {
    refuse(owner, "on.timezone", `must be the name of a time zone such as "Europe/Berlin", not ${shown(timezone)}`);
  }
  if (catchUp !== undefined && catchUp !== "all" && catchUp !== "latest" && catchUp !== "none") {
    refuse(owner, "on.catchUp", `must be "all", "latest" or "none", not ${shown(catchUp)}`);
  }
};

const HOOK_PATH = /^[\w.~-]+(?:\/[\w.~-]+)*$/;
/** Every client takes such a segment out of an address: nothing would ever come to it. */
const isDots = (segment: string): boolean => segment === "." || segment === "..";

const HEADER = /^[a-zA-Z0-9-]{1,100}$/;
const VARIABLE = /^[a-zA-Z_][a-zA-Z0-9_]{0,99}$/;

const checkHttp = (owner: Owner, trigger: Fields): void => {
  only(owner, "on", trigger, ["http"]);
  if (!isObject(trigger.http)) refuse(owner, "on.http", 'must be an object such as { path: "github/push" }');
  const { path, method, signature, delivery } = trigger.http as Fields;
  only(owner, "on.http", trigger.http as Fields, ["path", "method", "signature", "delivery"]);
  if (!isText(path, 200) || !HOOK_PATH.test(path) || path.split("/").some(isDots)) {
    refuse(
      owner,
      "on.http.path",
      `must be segments of letters, digits, "-", "_", "." and "~" with slashes between them, such as "github/push", not ${shown(path)}`,
    );
  }
  if (method !== undefined && method !== "POST" && method !== "PUT" && method !== "GET") {
    refuse(owner, "on.http.method", `must be "POST", "PUT" or "GET", not ${shown(method)}`);
  }
  if (delivery !== undefined && !(isText(delivery, 100) && HEADER.test(delivery))) {
    refuse(owner, "on.http.delivery", `must be a header's name such as "x-event-id", not ${shown(delivery)}`);
  }
  if (signature !== undefined) checkSignature(owner, signature);
};

const checkSignature = (owner: Owner, signature: unknown): void => {
  if (!isObject(signature)) refuse(owner, "on.http.signature", 'must be an object such as { secretEnv: "WEBHOOK_SECRET" }');
  const { secretEnv, header } = signature as Partial<WebhookSignature>;
  only(owner, "on.http.signature", signature as Fields, ["secretEnv", "header"]);
  if (typeof secretEnv !== "string" || !VARIABLE.test(secretEnv)) {
    refuse(owner, "on.http.signature.secretEnv", `must be the name of an environment variable of the platform, not ${shown(secretEnv)}`);
  }
  if (header !== undefined && !(typeof header === "string" && HEADER.test(header))) {
    refuse(owner, "on.http.signature.header", `must be a header's name such as "x-hub-signature-256", not ${shown(header)}`);
  }
};

const checkEvent = (owner: Owner, trigger: Fields): void => {
  only(owner, "on", trigger, ["event", "where"]);
  const types = Array.isArray(trigger.event) ? (trigger.event as unknown[]) : [trigger.event];
  const wrong = types.length === 0 ? "[]" : types.find((type) => !isText(type, 100) || !meetsAnEvent(type));
  if (wrong !== undefined)
    refuse(
      owner,
      "on.event",
      `${shown(wrong)} is no type of a platform event: use one of ${EVENT_TYPES.join(", ")}, or a pattern with "*"`,
    );
  if (types.length > MOST_TYPES) refuse(owner, "on.event", `lists ${types.length} types: ${MOST_TYPES} is the most`);
  const { where } = trigger;
  if (where === undefined) return;
  if (!isObject(where) || Object.keys(where).length > 20)
    refuse(owner, "on.where", 'must be an object of up to 20 fields such as { status: "failed" }');
  for (const [path, value] of Object.entries(where as Fields)) {
    const fits = typeof value === "string" ? value.length <= LONGEST_PATTERN : typeof value === "boolean" || Number.isFinite(value);
    if (!isPath(path) || !fits) refuse(owner, `on.where.${path}`, "must compare a field of the event with a text, a number or a boolean");
  }
};

const meetsAnEvent = (pattern: string): boolean => EVENT_TYPES.some((type) => fitsGlob(pattern, type));

const checkStale = (owner: Owner, trigger: Fields): void => {
  only(owner, "on", trigger, ["stale"]);
  const { stale } = trigger;
  if (!isText(stale, LONGEST_PATTERN) || (stale !== "*" && !/^[a-zA-Z*][a-zA-Z0-9_*-]*\/.+$/u.test(stale))) {
    refuse(owner, "on.stale", `must be a state key such as "orders/*", where "*" stands for any text, not ${shown(stale)}`);
  }
};

const CHECKS: Record<(typeof FORMS)[number], (owner: Owner, trigger: Fields) => void> = {
  object: checkObject,
  cron: checkCron,
  http: checkHttp,
  event: checkEvent,
  stale: checkStale,
};

const isTimezone = (name: unknown): boolean => {
  if (!isText(name, 100)) return false;
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    // That it is thrown is the answer.
    return false;
  }
};
