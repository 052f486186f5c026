/** For supervisors, monitoring and tools. */
import { answers } from "./answers.ts";
import type { Metrics } from "./metrics.ts";
import { createMetrics } from "./metrics.ts";
import { openApiDocument } from "./openapi.ts";
import type { Route, RouteContext } from "./route.ts";
import { sendJson } from "./route.ts";

const tag = "health";
const ready = answers.object({ ready: answers.yes, "reason?": answers.text });

export const healthRoutes = (context: RouteContext, all: () => readonly Route[]): Route[] => {
  let metrics: Promise<Metrics> | undefined;
  let document: string | undefined;
  return [
    {
      method: "GET",
      path: "/healthz",
      operationId: "health",
      summary: "Whether the platform is alive",
      tag,
      open: true,
      responses: { 200: { description: "It answers.", schema: answers.object({ status: { const: "ok" } }) } },
      handle: (_, reply) => sendJson(reply, 200, '{"status":"ok"}'),
    },
    {
      method: "GET",
      path: "/readyz",
      operationId: "readiness",
      summary: "Whether the platform takes work",
      tag,
      open: true,
      responses: {
        200: { description: "It does.", schema: ready },
        503: { description: "It does not, for this reason.", schema: ready, headers: { "retry-after": "Seconds." } },
      },
      handle: (_, reply) => {
        const reason = context.closing() ? "the platform is stopping" : context.plane.notReady();
        if (reason === undefined) return sendJson(reply, 200, '{"ready":true}');
        reply.header("retry-after", String(context.settings.retryAfterSeconds));
        sendJson(reply, 503, JSON.stringify({ ready: false, reason }));
      },
    },
    {
      method: "GET",
      path: "/metrics",
      operationId: "metrics",
      summary: "Figures for Prometheus",
      tag,
      responses: { 200: { description: "The text format.", schema: answers.text, mediaType: "text/plain" } },
      handle: async (_, reply) => {
        metrics ??= createMetrics(context.plane, {
          lockstep_event_streams: {
            help: "Event streams that are open.",
            read: () => context.streams.size + context.watches.pods.size + context.watches.services.size,
          },
        });
        const { contentType, text } = await metrics;
        reply.header("content-type", contentType).send(await text());
      },
    },
    {
      method: "GET",
      path: "/v1/openapi.json",
      operationId: "openApi",
      summary: "This document",
      tag,
      responses: { 200: { description: "OpenAPI 3.1.", schema: { type: "object" } } },
      handle: (_, reply) => {
        document ??= JSON.stringify(openApiDocument(all(), context.settings.version));
        sendJson(reply, 200, document);
      },
    },
  ];
};
