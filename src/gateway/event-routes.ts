import type { FastifyReply, FastifyRequest } from "fastify";
import type { Static } from "typebox";
import { LockstepError } from "../lib/errors.ts";
import { answers, pageOf, ref } from "./answers.ts";
import type { EventStreams, StreamRequest } from "./event-streams.ts";
import type { Route, RouteContext } from "./route.ts";
import { sendJson } from "./route.ts";
import { EventsQuery, LastEventHeader } from "./schemas.ts";

/** The head of every stream. */
const HEAD = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-store",
  "x-accel-buffering": "no",
  // A stream ends with its connection, so that a closing platform does not wait for an idle one.
  connection: "close",
};

const page = pageOf("events", ref("Event"), { next: answers.integer, more: answers.yes });

export const eventRoutes = (context: RouteContext): Route[] => [
  {
    method: "GET",
    path: "/v1/events",
    operationId: "streamEvents",
    summary: "Follow what happens, as server-sent events",
    tag: "platform",
    query: EventsQuery,
    headers: LastEventHeader,
    responses: {
      200: {
        description: "A stream in which `id` is an event's position, `event` its type and `data` its JSON; with `follow=false`, a page.",
        schema: page,
        streamed: ref("Event"),
      },
    },
    errors: ["OVERLOADED"],
    handle: async (request, reply) => {
      const query = request.query as Static<typeof EventsQuery>;
      const after = startOf(request, query.after);
      const types = query.types === undefined ? undefined : new Set(query.types.split(","));
      if (query.follow === false) return sendPage(context, reply, after, types, query.limit ?? 100);
      openStream(context.streams, reply, types === undefined ? { after } : { after, types });
    },
  },
];

/** @throws {LockstepError} OVERLOADED when there are too many streams already */
export const openStream = (streams: EventStreams, reply: FastifyReply, request: StreamRequest): void => {
  streams.admit();
  const headers = { ...reply.getHeaders(), ...HEAD };
  reply.hijack();
  reply.raw.writeHead(200, headers as Record<string, string>);
  streams.open(reply.raw, request);
};

/** Where a stream begins: what the client of a stream that was lost has seen last goes before what it once asked for. */
export const startOf = (request: FastifyRequest, after: string | undefined): number | "latest" => {
  const last = request.raw.headers["last-event-id"];
  if (last === undefined || last === "") return after === "latest" ? after : Number(after ?? 0);
  if (/^\d{1,15}$/.test(last as string)) return Number(last);
  const message = `the header Last-Event-ID must be the position of an event, not ${JSON.stringify(last)}`;
  throw new LockstepError("BAD_REQUEST", message, { details: { field: "Last-Event-ID", in: "header" } });
};

/** `next` goes on where this page ends, also when the filter left nothing of it; without `more`, there is nothing yet. */
const sendPage = async (
  { plane }: RouteContext,
  reply: FastifyReply,
  after: number | "latest",
  types: ReadonlySet<string> | undefined,
  limit: number,
): Promise<void> => {
  if (after === "latest")
    throw new LockstepError("BAD_REQUEST", "after=latest needs a stream, not follow=false", { details: { field: "after" } });
  const all = await plane.events(after, limit);
  const events = types === undefined ? all : all.filter((event) => types.has(event.type));
  sendJson(reply, 200, JSON.stringify({ events, next: all.at(-1)?.position ?? after, more: all.length === limit }));
};
