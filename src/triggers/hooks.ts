/**
 * Webhooks: who may send one, what names a delivery, and the input that it becomes. Owns no state.
 */
import { isUtf8 } from "node:buffer";
import { createHmac, timingSafeEqual } from "node:crypto";
import { LockstepError } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import type { Webhook, WebhookSignature } from "../protocol/application.ts";
import type { HookRequest } from "../protocol/control-plane.ts";

/** Deeper bodies are refused: they are read again wherever they come. */
const MAX_DEPTH = 100;
const MAX_DELIVERY = 200;
const SIGNATURE_HEADER = "x-signature-256";
const DELIVERY_HEADERS = ["idempotency-key", "webhook-id", "x-github-delivery"];
/** They are for this platform, or what stands before it; the input of a run is kept and shown. */
const PRIVATE_HEADERS: ReadonlySet<string> = new Set(["authorization", "proxy-authorization", "cookie"]);

/** Checks the signature, if the trigger asks for one. @throws {LockstepError} SIGNATURE_INVALID */
export const checkSignature = (
  { headers, body }: HookRequest,
  { signature }: Webhook,
  secretOf: (name: string) => string | undefined,
): void => {
  if (signature === undefined) return;
  const { secretEnv } = signature;
  const header = headerOf(signature);
  const secret = secretOf(secretEnv);
  if (secret === undefined || secret === "") throw invalid(`it can't be checked: the platform's environment has no ${secretEnv}`);
  const given = headers[header];
  if (given === undefined) throw invalid(`the header ${header} is missing`);
  const expected = createHmac("sha256", secret).update(body).digest();
  const bytes = bytesOf(given);
  if (bytes === undefined) throw invalid(`the header ${header} holds no HMAC-SHA256 in hexadecimal or base64`);
  // Both have 32 bytes, so the time that it takes tells nothing of where they differ.
  if (!timingSafeEqual(bytes, expected)) throw invalid(`the header ${header} does not fit the body`);
};

const headerOf = ({ header }: WebhookSignature): string => (header ?? SIGNATURE_HEADER).toLowerCase();

const invalid = (message: string): LockstepError =>
  new LockstepError("SIGNATURE_INVALID", `the webhook's signature is refused: ${message}`);

const bytesOf = (given: string): Buffer | undefined => {
  const text = given.trim().replace(/^sha256=/i, "");
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, "hex");
  return /^[A-Za-z0-9+/_-]{43}=?$/.test(text) ? Buffer.from(text, "base64") : undefined;
};

/** What names the delivery, so that one that comes again starts nothing. @throws {LockstepError} BAD_REQUEST */
export const deliveryOf = ({ headers }: HookRequest, { delivery }: Webhook): string | undefined => {
  const names = delivery === undefined ? DELIVERY_HEADERS : [delivery.toLowerCase(), ...DELIVERY_HEADERS];
  const name = names.find((header) => headers[header] !== undefined);
  if (name === undefined) return undefined;
  // The header's standard writes the key in quotation marks; most clients do not.
  const value = (headers[name] as string).trim().replace(/^"(.*)"$/, "$1");
  if (value !== "" && value.length <= MAX_DELIVERY && !value.includes("\0")) return value;
  throw new LockstepError("BAD_REQUEST", `the header ${name} must have 1 to ${MAX_DELIVERY} characters, not ${value.length}`, {
    details: { field: name, in: "header" },
  });
};

/**
 * The input of what the webhook starts: JSON is given as it is, other text as a string, anything else as `{ base64 }`, nothing as null.
 * @throws {LockstepError} BAD_REQUEST for JSON that is none
 */
export const inputOf = ({ method, path, query, headers, body }: HookRequest): Json => {
  const shown = Object.fromEntries(Object.entries(headers).filter(([name]) => !PRIVATE_HEADERS.has(name)));
  const head = JSON.stringify({ method, path, query, headers: shown });
  // The body's own text, so that numbers stay as they were written.
  return `${head.slice(0, -1)},"body":${bodyOf(headers["content-type"] ?? "", body)}}`;
};

const bodyOf = (type: string, body: Uint8Array): Json => {
  if (body.length === 0) return "null";
  const isText = isUtf8(body);
  if (!/^application\/(?:[\w.+-]+\+)?json\b/i.test(type)) {
    return JSON.stringify(isText ? Buffer.from(body).toString() : { base64: Buffer.from(body).toString("base64") });
  }
  if (!isText) throw badBody("is not UTF-8 text");
  const text = Buffer.from(body).toString();
  if (isDeep(text)) throw badBody(`is nested deeper than ${MAX_DEPTH} levels`);
  try {
    JSON.parse(text);
  } catch (cause) {
    throw badBody(`is not JSON: ${(cause as Error).message}`, cause);
  }
  return text;
};

const badBody = (problem: string, cause?: unknown): LockstepError =>
  new LockstepError("BAD_REQUEST", `the webhook's body ${problem}`, {
    details: { field: "", in: "body" },
    ...(cause === undefined ? {} : { cause }),
  });

/** Whether more than so many arrays and objects are open at once anywhere; of text that is not JSON the answer may be wrong. */
const isDeep = (text: string): boolean => {
  if (text.length <= MAX_DEPTH * 2) return false;
  let depth = 0;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/gs)) {
    if (token === "[" || token === "{") {
      if (++depth > MAX_DEPTH) return true;
    } else if (token === "]" || token === "}") depth--;
  }
  return false;
};
