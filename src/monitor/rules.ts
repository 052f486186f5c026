/**
 * What each shape of error means: the table by which the monitor judges, and which docs/monitor.md shows (a test keeps the two equal).
 *
 * The first row that fits decides. Chains of causes are walked from what was thrown to what caused it; the rows of `PROGRAMMING` are looked
 * at only when no cause has a shape of `SHAPES`, because a TypeError is how `fetch` reports a refused connection.
 *
 * `retryable` asks whether the same attempt, made again within seconds, can succeed. A wrong "yes" costs a few attempts and a wrong "no"
 * stops a run, so whatever is in doubt is retryable.
 */
import type { FaultClass } from "../lib/verdict.ts";
import type { Fits } from "./match.ts";
import {
  both,
  classNamed,
  coded,
  codes,
  either,
  fact,
  grpc,
  mongo,
  named,
  outputOf,
  redis,
  says,
  sql,
  sqlStateOf,
  status,
  statusFrom,
} from "./match.ts";

export interface Rule {
  /** What it looks at, as the documentation says it. */
  shape: string;
  class: FaultClass;
  retryable: boolean;
  why: string;
  fits: Fits;
}

type Row = readonly [shape: string, fault: FaultClass, retryable: boolean, why: string, fits: Fits];

const rule = ([shape, fault, retryable, why, fits]: Row): Rule => ({ shape, class: fault, retryable, why, fits });

/** A row whose shape is a list of codes. */
const listed = (words: string, fault: FaultClass, retryable: boolean, why: string): Row => [
  words
    .split(" ")
    .map((word) => `\`${word}\``)
    .join(" "),
  fault,
  retryable,
  why,
  codes(...words.split(" ")),
];

/** A row whose shape is a list of names, which stand in the error's class or in its code. */
const called = (words: string, fault: FaultClass, retryable: boolean, why: string): Row => [
  words
    .split(" ")
    .map((word) => `\`${word}\``)
    .join(" "),
  fault,
  retryable,
  why,
  named(...words.split(" ")),
];

const UNAVAILABLE = "storage-unavailable";
const NOT_FOUND = "resource-not-found";
const MEMORY = "out-of-memory";

// The extended codes of SQLite hold the primary one in their low byte.
const sqlite =
  (...wanted: number[]): Fits =>
  ({ facts }) =>
    typeof facts?.errcode === "number" && wanted.includes(facts.errcode & 0xff);

const kafka =
  (pattern: RegExp): Fits =>
  ({ facts }) =>
    typeof facts?.type === "string" && facts.retriable !== undefined && pattern.test(facts.type);

// biome-ignore format: one row per rule reads as the table that it is
const LOCKSTEP: readonly Row[] = [
  listed("INPUT_INVALID UNKNOWN_FUNCTION UNKNOWN_COORDINATOR EXPRESSION_INVALID UNKNOWN_VARIABLE BAD_REQUEST", "invocation", false, "What was asked for stays wrong."),
  listed("CALL_TIMEOUT WAIT_TIMEOUT SIGNAL_TIMEOUT", "timeout", true, "The next attempt may be quicker."),
  listed("OUT_OF_MEMORY", MEMORY, true, "Calls of a pod share its memory: the next attempt may have more of it."),
  ["`POD_LOST` whose pod wrote `heap out of memory`", MEMORY, true, "V8 says so before it ends the process.", both(codes("POD_LOST"), (link) => outputOf(link).includes("heap out of memory"))],
  listed("POD_LOST POD_FAILED_TO_START", "pod-lost", true, "Another pod takes the next attempt."),
  listed("ACCESS_DENIED UNAUTHENTICATED SIGNATURE_INVALID", "permission", false, "The definition, or the key, has to change."),
  listed("CHECK_FAILED", "check-failed", true, "The next attempt may do what this one did not."),
  listed("UNKNOWN_BUCKET UNKNOWN_OBJECT UNKNOWN_KEY UNKNOWN_RUN UNKNOWN_ROUTE UNKNOWN_POD UNKNOWN_SERVICE CALL_NOT_FOUND BUCKET_NAME_INVALID OBJECT_KEY_INVALID", NOT_FOUND, false, "Nothing has this name; somebody must make it, or mend the name."),
  listed("STATE_STALE", UNAVAILABLE, true, "The value may be mended by the time of the next attempt."),
  listed("STORAGE_UNAVAILABLE STORAGE_FULL JOURNAL_UNAVAILABLE NOT_CONNECTED SHUTTING_DOWN OVERLOADED", UNAVAILABLE, true, "It may answer, or have room, again."),
  listed("STATE_CONFLICT PRECONDITION_FAILED", "execution", true, "The next attempt reads what is there now."),
  listed("OUTPUT_INVALID RESULT_NOT_JSON PAYLOAD_TOO_LARGE STATE_KEY_INVALID STATE_VALUE_INVALID PROCESS_EXIT", "execution", false, "The function's code does it each time."),
  listed("REPLICAS_DIVERGED", "consensus", false, "Its code is not deterministic, and would differ again."),
  listed("REPLAY_DIVERGED COORDINATOR_STUCK RECOVERY_INVALID RECOVERY_FAILED COMPENSATION_FAILED ESCALATED CALL_CANCELLED RUN_CANCELLED", "execution", false, "A person, or new code, has to decide."),
  listed("OBJECT_CORRUPT", UNAVAILABLE, false, "The stored bytes stay as they are."),
];

// biome-ignore format: as above
const MEMORY_ROWS: readonly Row[] = [
  ["`RangeError: Array buffer allocation failed`; `ERR_WORKER_OUT_OF_MEMORY` `ERR_MEMORY_ALLOCATION_FAILED` `ENOMEM`", MEMORY, true, "Another pod, or another moment, has more memory.", either(both(classNamed("RangeError"), says(/allocation failed/i)), codes("ERR_WORKER_OUT_OF_MEMORY", "ERR_MEMORY_ALLOCATION_FAILED", "ENOMEM"))],
  ["`RangeError: Invalid array length` (or string, or typed array length); `ERR_STRING_TOO_LONG` `ERR_BUFFER_TOO_LARGE` `ERR_FS_FILE_TOO_LARGE`", MEMORY, false, "Larger than the language allows, in any pod.", either(both(classNamed("RangeError"), says(/^Invalid (array|string|typed array) length|^Array buffer length exceeds/i)), codes("ERR_STRING_TOO_LONG", "ERR_BUFFER_TOO_LARGE", "ERR_FS_FILE_TOO_LARGE"))],
];

// biome-ignore format: as above
const DATABASES: readonly Row[] = [
  ["SQL state `57014` `25P03` `57P05` `55P03`", "timeout", true, "A statement, a lock or a session took too long.", sql("57014", "25P03", "57P05", "55P03")],
  ["SQL state of class `08` (connection), `53` (resources), `57` (operator), `58` (system), `XX` (internal), or `25006` (read-only)", UNAVAILABLE, true, "The database restarts, fails over or is full.", sql("08", "53", "57", "58", "XX", "25006")],
  ["SQL state of class `28` (authorization), or `42501`", "permission", false, "The role has to be granted it.", sql("28", "42501")],
  ["SQL state `3D000` `3F000` `42P01` `42703` `42704` `42883` `42S02` `42S22`; `ER_BAD_DB_ERROR` `ER_NO_SUCH_TABLE`", NOT_FOUND, false, "No such database, schema, table, column or function.", either(sql("3D000", "3F000", "42P01", "42703", "42704", "42883", "42S02", "42S22"), codes("ER_BAD_DB_ERROR", "ER_NO_SUCH_TABLE"))],
  ["SQL state of class `40` (deadlock, serialization)", "execution", true, "The transaction lost to another; the next may win.", sql("40")],
  ["any other SQL state, such as of class `22` (data), `23` (constraint), `42` (syntax)", "execution", false, "The statement, or its data, stays wrong.", both((link) => sqlStateOf(link) !== undefined, (link) => sqlStateOf(link) !== "HY000")],
  ["`ER_CON_COUNT_ERROR` `PROTOCOL_CONNECTION_LOST` `ER_LOCK_WAIT_TIMEOUT`; `Connection terminated …` or `timeout exceeded when trying to connect` of a pool", UNAVAILABLE, true, "The database has too much to do, or went away.", either(codes("ER_CON_COUNT_ERROR", "PROTOCOL_CONNECTION_LOST", "ER_LOCK_WAIT_TIMEOUT"), says(/^Connection terminated|^timeout exceeded when trying to connect/))],
  ["`SQLITE_BUSY` `SQLITE_LOCKED` `SQLITE_FULL` `SQLITE_IOERR…` `SQLITE_CANTOPEN…`, or such an `errcode`", UNAVAILABLE, true, "Another has the lock, or the disk is at its end.", either(coded(/^SQLITE_(BUSY|LOCKED|FULL|IOERR|CANTOPEN)/), sqlite(5, 6, 10, 13, 14))],
  ["`SQLITE_READONLY…` `SQLITE_PERM` `SQLITE_AUTH…`, or such an `errcode`", "permission", false, "The file may not be written.", either(coded(/^SQLITE_(READONLY|PERM|AUTH)/), sqlite(3, 8, 23))],
  ["any other `SQLITE_…`, such as `SQLITE_CONSTRAINT`", "execution", false, "The statement, or its data, stays wrong.", either(coded(/^SQLITE_/), codes("ERR_SQLITE_ERROR"))],
  ["MongoDB `MongoNetworkTimeoutError`, or code 50", "timeout", true, "The next attempt may be quicker.", either(classNamed("MongoNetworkTimeoutError", "MongoOperationTimeoutError"), mongo(50))],
  ["MongoDB code 13 or 18", "permission", false, "The user has to be granted it.", mongo(13, 18)],
  ["MongoDB code 26", NOT_FOUND, false, "No such collection.", mongo(26)],
  ["MongoDB `MongoNetworkError` `MongoServerSelectionError` `MongoNotConnectedError` `MongoTopologyClosedError` `MongoPoolClearedError`, or a code of its elections", UNAVAILABLE, true, "Another node becomes the primary.", either(classNamed("MongoNetworkError", "MongoServerSelectionError", "MongoNotConnectedError", "MongoTopologyClosedError", "MongoPoolClearedError", "MongoWaitQueueTimeoutError"), mongo(6, 7, 89, 91, 189, 9001, 10107, 11600, 11602, 13435, 13436))],
  ["MongoDB code 112 or 251", "execution", true, "The write lost to another; the next may win.", mongo(112, 251)],
  ["any other `MongoServerError`, such as 11000", "execution", false, "The document, or the command, stays wrong.", classNamed("MongoServerError", "MongoBulkWriteError")],
  ["Redis answers `NOAUTH` `WRONGPASS` `NOPERM`", "permission", false, "The user has to be granted it.", redis("NOAUTH", "WRONGPASS", "NOPERM")],
  ["Redis answers `LOADING` `BUSY` `CLUSTERDOWN` `MASTERDOWN` `TRYAGAIN` `READONLY` `NOREPLICAS` `MISCONF` `OOM`; `MaxRetriesPerRequestError` `ClientClosedError` `SocketClosedUnexpectedlyError`", UNAVAILABLE, true, "It loads, fails over or is full.", either(redis("LOADING", "BUSY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "READONLY", "NOREPLICAS", "MISCONF", "OOM"), classNamed("MaxRetriesPerRequestError", "ClientClosedError", "ClientOfflineError", "SocketClosedUnexpectedlyError"))],
  ["any other answer of Redis, such as `WRONGTYPE`", "execution", false, "The command stays wrong.", classNamed("ReplyError", "ErrorReply")],
  ["Kafka `…_AUTHORIZATION_FAILED`, `SASL_AUTHENTICATION_FAILED`", "permission", false, "The principal has to be granted it.", kafka(/AUTHORIZATION_FAILED$|AUTHENTICATION_FAILED$/)],
  ["Kafka `UNKNOWN_TOPIC_OR_PARTITION`", NOT_FOUND, true, "A new topic takes a moment to be known.", kafka(/^UNKNOWN_TOPIC/)],
  ["Kafka `KafkaJSRequestTimeoutError`, `REQUEST_TIMED_OUT`", "timeout", true, "The next attempt may be quicker.", either(classNamed("KafkaJSRequestTimeoutError"), kafka(/TIMED_OUT$/))],
  ["Kafka `KafkaJSConnectionError` `KafkaJSNumberOfRetriesExceeded`, or `retriable`", UNAVAILABLE, true, "Brokers come back, or elect a leader.", either(classNamed("KafkaJSConnectionError", "KafkaJSNumberOfRetriesExceeded", "KafkaJSBrokerNotFound"), fact("retriable", true))],
  ["gRPC 4 `DEADLINE_EXCEEDED`, 1 `CANCELLED`", "timeout", true, "The next attempt may be quicker.", grpc(1, 4)],
  ["gRPC 5 `NOT_FOUND`", NOT_FOUND, false, "Nothing has this name.", grpc(5)],
  ["gRPC 7 `PERMISSION_DENIED`, 16 `UNAUTHENTICATED`", "permission", false, "The caller has to be granted it.", grpc(7, 16)],
  ["gRPC 10 `ABORTED`", "execution", true, "It lost to another; the next may win.", grpc(10)],
  ["gRPC 14 `UNAVAILABLE`, 8 `RESOURCE_EXHAUSTED`, 13 `INTERNAL`, 15 `DATA_LOSS`, 2 `UNKNOWN`", UNAVAILABLE, true, "The service may answer again.", grpc(2, 8, 13, 14, 15)],
  ["gRPC 3, 6, 9, 11, 12", "execution", false, "The request stays wrong.", grpc(3, 6, 9, 11, 12)],
];

// biome-ignore format: as above
const AWS: readonly Row[] = [
  called("NoSuchBucket NoSuchKey NoSuchUpload NoSuchVersion NotFound InvalidBucketName ResourceNotFoundException NoSuchEntity NoSuchEntityException TableNotFoundException QueueDoesNotExist AWS.SimpleQueueService.NonExistentQueue NotFoundException", NOT_FOUND, false, "Nothing has, or can have, this name."),
  called("AccessDenied AccessDeniedException UnauthorizedAccess UnauthorizedException UnauthorizedOperation NotAuthorizedException UnrecognizedClientException InvalidAccessKeyId InvalidClientTokenId SignatureDoesNotMatch ExpiredToken ExpiredTokenException InvalidToken AuthFailure AllAccessDisabled InvalidObjectState CredentialsProviderError", "permission", false, "The role, or its credentials, have to change."),
  called("Throttling ThrottlingException ThrottledException TooManyRequestsException ProvisionedThroughputExceededException RequestLimitExceeded RequestThrottled RequestThrottledException SlowDown BandwidthLimitExceeded PriorRequestNotComplete LimitExceededException TransactionInProgressException", UNAVAILABLE, true, "It asks for a pause."),
  called("TimeoutError RequestTimeout RequestTimeoutException", "timeout", true, "The next attempt may be quicker."),
  called("InternalError InternalFailure InternalServerError InternalServerException InternalServiceError ServiceUnavailable ServiceUnavailableException ServiceException KMSInternalException", UNAVAILABLE, true, "The service may answer again."),
  called("ConditionalCheckFailedException PreconditionFailed OperationAborted ConflictException TransactionCanceledException TransactionConflictException ConditionalRequestConflict RequestTimeTooSkewed", "execution", true, "The next attempt meets what is there now."),
];

// biome-ignore format: as above
const NETWORK: readonly Row[] = [
  listed("ETIMEDOUT ESOCKETTIMEDOUT ECONNABORTED ERR_SOCKET_CONNECTION_TIMEOUT UND_ERR_CONNECT_TIMEOUT UND_ERR_HEADERS_TIMEOUT UND_ERR_BODY_TIMEOUT ETIMEOUT ERR_HTTP_REQUEST_TIMEOUT", "timeout", true, "The next attempt may be quicker."),
  listed("ECONNREFUSED ECONNRESET EPIPE EHOSTUNREACH ENETUNREACH ENETDOWN EHOSTDOWN ENOTCONN EADDRNOTAVAIL EAI_AGAIN EPROTO ERR_NETWORK ERR_STREAM_PREMATURE_CLOSE ERR_SOCKET_CLOSED ERR_HTTP2_SESSION_ERROR ERR_HTTP2_STREAM_ERROR ECONNCLOSED", UNAVAILABLE, true, "Whoever listens there may be back."),
  listed("ENOTFOUND", NOT_FOUND, true, "No host has this name, or name resolution is out of order for a moment."),
  ["`UND_ERR_ABORTED`; `AbortError` `ABORT_ERR` `ERR_CANCELED` `CanceledError`", "timeout", true, "What aborts does so because it took too long.", either(codes("UND_ERR_ABORTED"), named("AbortError", "ABORT_ERR", "ERR_CANCELED", "CanceledError"))],
  listed("UND_ERR_INVALID_ARG UND_ERR_REQ_CONTENT_LENGTH_MISMATCH UND_ERR_HEADERS_OVERFLOW UND_ERR_RES_EXCEEDED_MAX_SIZE UND_ERR_NOT_SUPPORTED UND_ERR_INVALID_RETURN_VALUE", "execution", false, "The request stays wrong, or its answer too large."),
  ["`UND_ERR_SOCKET` and any other `UND_ERR_…` without an HTTP status; `HPE_…`", UNAVAILABLE, true, "The connection ended, or brought no HTTP.", both(coded(/^(UND_ERR_|HPE_)/), (link) => !statusFrom(400, 599)(link))],
  listed("CERT_HAS_EXPIRED CERT_NOT_YET_VALID CERT_REVOKED DEPTH_ZERO_SELF_SIGNED_CERT SELF_SIGNED_CERT_IN_CHAIN UNABLE_TO_VERIFY_LEAF_SIGNATURE UNABLE_TO_GET_ISSUER_CERT UNABLE_TO_GET_ISSUER_CERT_LOCALLY ERR_TLS_CERT_ALTNAME_INVALID", "invocation", false, "The configuration or the certificate has to change."),
];

// biome-ignore format: as above
const FILES: readonly Row[] = [
  listed("ENOSPC EDQUOT EIO EBUSY EAGAIN ETXTBSY ESTALE", UNAVAILABLE, true, "The disk may have room, or the file be free, again."),
  listed("EACCES EPERM EROFS ERR_ACCESS_DENIED", "permission", false, "The system, or the pod's permissions, have to change."),
  listed("ENOENT ENODEV ENXIO", NOT_FOUND, false, "There is no such file."),
  listed("EMFILE ENFILE EADDRINUSE", "execution", true, "Other calls of the pod may give files or ports back."),
  listed("EEXIST ENOTDIR EISDIR ENOTEMPTY EINVAL ENAMETOOLONG ELOOP EXDEV EBADF EFBIG MODULE_NOT_FOUND ERR_MODULE_NOT_FOUND", "execution", false, "The code does it each time."),
];

// biome-ignore format: as above
const HTTP: readonly Row[] = [
  ["HTTP 401, 403, 407, 451", "permission", false, "The caller has to be granted it.", status(401, 403, 407, 451)],
  ["HTTP 404, 410", NOT_FOUND, false, "There is nothing at this address.", status(404, 410)],
  ["HTTP 408, 504", "timeout", true, "The next attempt may be quicker.", status(408, 504)],
  ["HTTP 409, 412", "execution", true, "The next attempt meets what is there now.", status(409, 412)],
  ["HTTP 423, 425, 429", UNAVAILABLE, true, "It asks for a pause.", status(423, 425, 429)],
  ["HTTP 501, 505, and any other from 400 to 499", "execution", false, "The request stays wrong.", either(status(501, 505), statusFrom(400, 499))],
  ["any other HTTP status from 500 to 599", UNAVAILABLE, true, "The service may answer again.", statusFrom(500, 599)],
  ["`$fault: \"server\"` or `$retryable` of an AWS SDK", UNAVAILABLE, true, "It says so itself.", either(fact("$fault", "server"), fact("$retryable", true))],
  ["`$fault: \"client\"` of an AWS SDK", "execution", false, "The request stays wrong.", fact("$fault", "client")],
];

// biome-ignore format: as above
const PROGRAMMING_ROWS: readonly Row[] = [
  ["`TypeError: fetch failed`, `TypeError: terminated`", UNAVAILABLE, true, "So `fetch` reports any trouble on the way.", both(classNamed("TypeError"), says(/^(fetch failed|terminated)$/))],
  ["`SyntaxError` of `JSON.parse`", "execution", true, "The text comes from elsewhere: an answer that was cut, or an error page in its place.", both(classNamed("SyntaxError"), says(/ JSON\b/))],
  ["`TypeError` `ReferenceError` `RangeError` `SyntaxError` `URIError` `EvalError` `AssertionError`", "execution", false, "The code does it each time.", classNamed("TypeError", "ReferenceError", "RangeError", "SyntaxError", "URIError", "EvalError", "AssertionError")],
];

export const SHAPES: readonly Rule[] = [LOCKSTEP, MEMORY_ROWS, DATABASES, AWS, NETWORK, FILES, HTTP].flat().map(rule);

export const PROGRAMMING: readonly Rule[] = PROGRAMMING_ROWS.map(rule);

export const TERMINAL: Rule = rule([
  "`TerminalError` with a code of the application's own",
  "execution",
  false,
  "It says so itself.",
  (link) => link.terminal === true,
]);

export const OTHER: Rule = rule(["anything else", "execution", true, "Nothing says that trying again is in vain.", () => true]);
