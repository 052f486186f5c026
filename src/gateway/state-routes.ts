/** The state store, from outside of any run. */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Static } from "typebox";
import { LockstepError } from "../lib/errors.ts";
import type { StateEntry, StateWrite } from "../protocol/state.ts";
import { pageOf, ref } from "./answers.ts";
import { writeValue } from "./json-body.ts";
import { withRawMembers } from "./json-text.ts";
import type { Route, RouteContext } from "./route.ts";
import { sendJson } from "./route.ts";
import { StateBody, StateDeleteQuery, StateKeyParams, StateParams, StateQuery } from "./schemas.ts";

const RAW = new Set(["value"]);
const tag = "state";
const KEY_ERRORS = ["STATE_KEY_INVALID"] as const;

export const stateRoutes = ({ plane }: RouteContext): Route[] => [
  {
    method: "GET",
    path: "/v1/state/:application",
    operationId: "listState",
    summary: "List keys of an application's state",
    tag,
    params: StateParams,
    query: StateQuery,
    responses: {
      200: {
        description: "Keys with a value, in the order of their bytes; or those that are stale.",
        schema: pageOf("entries", ref("StateEntry")),
      },
    },
    errors: ["PAYLOAD_TOO_LARGE", ...KEY_ERRORS],
    handle: async (request, reply) => {
      const { application } = request.params as Static<typeof StateParams>;
      const { prefix = "", limit = 100, after, stale } = request.query as Static<typeof StateQuery>;
      const entries =
        stale === true
          ? (await plane.state.stale(application)).filter(({ key }) => key.startsWith(prefix)).slice(0, limit)
          : await plane.state.list(application, prefix, limit, after);
      sendJson(reply, 200, `{"entries":[${entries.map(entryText).join(",")}]}`);
    },
  },
  {
    method: "GET",
    path: "/v1/state/:application/*key",
    operationId: "getState",
    summary: "Get a key of an application's state",
    tag,
    params: StateKeyParams,
    responses: { 200: { description: "The key, stale or not.", schema: ref("StateEntry") } },
    errors: ["UNKNOWN_KEY", ...KEY_ERRORS],
    handle: async (request, reply) => {
      const { application, key } = request.params as Static<typeof StateKeyParams>;
      const entry = await plane.state.get(application, key);
      if (entry.version === 0 && entry.stale === undefined) throw unknownKey(application, key);
      sendJson(reply, 200, entryText(entry));
    },
  },
  {
    method: "PUT",
    path: "/v1/state/:application/*key",
    operationId: "setState",
    summary: "Set a key of an application's state, or declare that its value is right",
    tag,
    params: StateKeyParams,
    body: StateBody,
    responses: { 200: { description: "The key as it is now, durably.", schema: ref("StateEntry") } },
    errors: ["STATE_CONFLICT", ...KEY_ERRORS],
    handle: (request, reply) => put(plane, request, reply),
  },
  {
    method: "DELETE",
    path: "/v1/state/:application/*key",
    operationId: "deleteState",
    summary: "Delete a key of an application's state",
    tag,
    params: StateKeyParams,
    query: StateDeleteQuery,
    responses: { 204: { description: "There is no such key any more, durably." } },
    errors: ["STATE_CONFLICT", ...KEY_ERRORS],
    handle: async (request, reply) => {
      const { application, key } = request.params as Static<typeof StateKeyParams>;
      const { ifVersion } = request.query as Static<typeof StateDeleteQuery>;
      await plane.state.write(application, ifVersion === undefined ? { key } : { key, ifVersion });
      reply.code(204).send();
    },
  },
];

const put = async (plane: RouteContext["plane"], request: FastifyRequest, reply: FastifyReply): Promise<void> => {
  const { application, key } = request.params as Static<typeof StateKeyParams>;
  const { value, ttlMs, ifVersion, refresh } = request.body as Static<typeof StateBody>;
  if ((value === undefined) === (refresh !== true)) {
    throw new LockstepError("BAD_REQUEST", "the body must have either a value, or refresh: true", {
      details: { field: "value", in: "body" },
    });
  }
  const write: StateWrite = { key };
  if (value !== undefined) write.value = writeValue(value, "value");
  if (refresh === true) write.refresh = true;
  if (ttlMs !== undefined) write.ttlMs = ttlMs;
  if (ifVersion !== undefined) write.ifVersion = ifVersion;
  sendJson(reply, 200, entryText(await plane.state.write(application, write)));
};

const entryText = ({ key, value, version, stale, expiresAt }: StateEntry): string =>
  withRawMembers({ key, value, version, stale, expiresAt }, RAW);

const unknownKey = (application: string, key: string): LockstepError =>
  new LockstepError("UNKNOWN_KEY", `${JSON.stringify(application)} has no state ${JSON.stringify(key)}`, { details: { application, key } });
