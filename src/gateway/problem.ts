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
  const error = asLockstepError(reply, thrown) ?? unexpected(reply, thrown, context);
  const { status } = catalogue[error.code];
  if (status === 429 || status === 503) reply.header("retry-after", String(context.retryAfterSeconds));
  if (status === 401) reply.header("www-authenticate", "Bearer");
  reply.code(status).header("content-type", PROBLEM_TYPE).send(problemText(error));
};

/** The error of the catalogue behind an error of Lockstep's or of the HTTP framework's; `undefined` when it is neither. */
const asLockstepError = (reply: FastifyReply, thrown: unknown): LockstepError | undefined => {
  if (thrown instanceof LockstepError) return thrown;
  const { code, statusCode, message } = (thrown ?? {}) as { code?: unknown; statusCode?: unknown; message?: unknown };
  const isRequests = typeof statusCode === "number" && statusCode < 500;
  if (!isRequests || typeof code !== "string" || !(code.startsWith("FST_ERR_") || Object.hasOwn(KNOWN, code))) return undefined;
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE") return tooLarge(reply);
  const known = KNOWN[code];
  return new LockstepError(known?.code ?? "BAD_REQUEST", known?.message ?? String(message), { cause: thrown });
};

const tooLarge = (reply: FastifyReply): LockstepError => {
  const limit = reply.request.routeOptions.bodyLimit;
  return new LockstepError("PAYLOAD_TOO_LARGE", `the body is longer than ${limit} bytes, the limit here`, { details: { limit } });
};

const KNOWN: Record<string, { code: ErrorCode; message: string }> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: { code: "UNSUPPORTED_MEDIA_TYPE", message: "the body's Content-Type must be application/json" },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: { code: "BAD_REQUEST", message: "the body's length differs from Content-Length" },
  FST_ERR_BAD_URL: { code: "BAD_REQUEST", message: "the address holds a wrong percent-encoding" },
  // The client has gone in the middle of its body, so nobody will read this.
  ECONNRESET: { code: "BAD_REQUEST", message: "the connection was lost" },
};

const unexpected = (reply: FastifyReply, thrown: unknown, context: ProblemContext): LockstepError => {
  const { method, url } = reply.request.raw;
  const where = `${method} ${url?.split("?", 1)[0]}`;
  context.onDefect(thrown, where);
  return new LockstepError("INTERNAL", `something unexpected happened during ${where}; the platform's log tells what`);
};
