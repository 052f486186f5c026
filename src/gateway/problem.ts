import type { FastifyReply } from "fastify";
import type { ErrorCode } from "../lib/errors.ts";
import { catalogue, LockstepError } from "../lib/errors.ts";

export const PROBLEM_TYPE = "application/problem+json";

/** An error as a problem document of RFC 9457. */
export const problemText = (error: LockstepError): string => {
  const { status, means, mend } = catalogue[error.code];
  const { code, message: detail, details } = error;
  return JSON.stringify({ type: `urn:lockstep:error:${code}`, title: means, status, detail, code, mend, details });
};

export interface ProblemContext {
  retryAfterSeconds: number;
  onDefect: (error: unknown, where: string) => void;
}

/** Answers with the problem document of anything that was thrown while a request was handled. */
export const sendProblem = (reply: FastifyReply, thrown: unknown, context: ProblemContext): void => {
  const error = asLockstepError(thrown) ?? unexpected(reply, thrown, context);
  const { status } = catalogue[error.code];
  if (status === 429 || status === 503) reply.header("retry-after", String(context.retryAfterSeconds));
  if (status === 401) reply.header("www-authenticate", "Bearer");
  reply.code(status).header("content-type", PROBLEM_TYPE).send(problemText(error));
};

/** The error of the catalogue behind an error of Lockstep's or of the HTTP framework's; `undefined` when it is neither. */
const asLockstepError = (thrown: unknown): LockstepError | undefined => {
  if (thrown instanceof LockstepError) return thrown;
  const { code, statusCode, message } = thrown as { code?: unknown; statusCode?: unknown; message?: unknown };
  if (typeof code !== "string" || typeof statusCode !== "number" || statusCode >= 500) return undefined;
  const known: ErrorCode | undefined = FRAMEWORK_CODES[code];
  return new LockstepError(known ?? "BAD_REQUEST", MESSAGES[code] ?? String(message), { cause: thrown });
};

const FRAMEWORK_CODES: Record<string, ErrorCode> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: "UNSUPPORTED_MEDIA_TYPE",
  FST_ERR_CTP_BODY_TOO_LARGE: "PAYLOAD_TOO_LARGE",
};

const MESSAGES: Record<string, string> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: "the body's Content-Type must be application/json",
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: "the body's length differs from Content-Length",
  FST_ERR_BAD_URL: "the address holds a wrong percent-encoding",
};

const unexpected = (reply: FastifyReply, thrown: unknown, context: ProblemContext): LockstepError => {
  const { method, url } = reply.request.raw;
  const where = `${method} ${url?.split("?", 1)[0]}`;
  context.onDefect(thrown, where);
  return new LockstepError("INTERNAL", `something unexpected happened during ${where}; the platform's log tells what`);
};
