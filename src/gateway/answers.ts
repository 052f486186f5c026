/** Schemas of what the platform answers: the components of the OpenAPI document. What is answered of one matter stands in `answers-*.ts`. */
import { catalogue } from "../lib/errors.ts";
import { anything, failure, integer, list, object, runId, staleness, text, time, yes } from "./answer-shapes.ts";
import { applicationAnswers } from "./answers-applications.ts";
import { clusterAnswers } from "./answers-cluster.ts";
import { eventAnswers } from "./answers-events.ts";
import { runAnswers, verdict } from "./answers-runs.ts";
import type { DocumentSchema } from "./route.ts";

export const components = {
  Problem: object(
    {
      type: { type: "string", examples: ["urn:lockstep:error:BAD_REQUEST"] },
      title: { type: "string", description: "What the code means." },
      status: integer,
      detail: { type: "string", description: "What happened." },
      code: { enum: Object.keys(catalogue) },
      mend: { type: "string", description: "What to do." },
      "details?": { type: "object", description: "Facts for programs, such as `field`, the path of the wrong one." },
    },
    { description: "RFC 9457." },
  ),
  Failure: object({
    code: { type: "string", description: "Of the catalogue of errors, or the application's own." },
    message: text,
    "name?": { type: "string", description: "The class of what was thrown." },
    "stack?": text,
    "details?": {},
    "call?": object({ function: text, seq: integer }),
    "attempts?": integer,
    "cause?": failure,
    "terminal?": yes,
    "facts?": { type: "object", additionalProperties: { type: ["string", "number", "boolean"] } },
    "verdict?": verdict,
  }),
  StateEntry: object({
    key: text,
    "value?": anything,
    version: { ...integer, description: "Grows with each write; 0 when the key has no value." },
    "stale?": staleness,
    "expiresAt?": time,
  }),
  ...runAnswers,
  ...applicationAnswers,
  ...clusterAnswers,
  ...eventAnswers,
} as const;

/** A reference to one of `components`. */
export const ref = (name: keyof typeof components): DocumentSchema => ({ $ref: `#/components/schemas/${name}` });

/** An object with one member that lists `items`, and what else is given. */
export const pageOf = (name: string, items: DocumentSchema, more: Record<string, DocumentSchema> = {}): DocumentSchema =>
  object({ [name]: list(items), ...more });

export const answers = { object, list, text, integer, yes, runId };
