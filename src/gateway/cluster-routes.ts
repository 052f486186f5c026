/** Pods and services. */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Static } from "typebox";
import { LockstepError } from "../lib/errors.ts";
import type { ChangeFeed, ServiceSpec } from "../protocol/cluster.ts";
import { pageOf, ref } from "./answers.ts";
import { openStream, startOf } from "./event-routes.ts";
import type { EventStreams } from "./event-streams.ts";
import type { Route, RouteContext } from "./route.ts";
import { sendJson } from "./route.ts";
import {
  ClusterPodBody,
  IfVersionQuery,
  LastEventHeader,
  NameParams,
  PodDeleteQuery,
  PodParams,
  ServiceBody,
  ServicePutBody,
  WatchQuery,
} from "./schemas.ts";
import { durationMs } from "./units.ts";

const tag = "cluster";
const SPEC_ERRORS = ["UNKNOWN_FUNCTION", "SERVICE_EXISTS"] as const;

const WATCHED = "with `watch`, a stream in which `id` is a change's position, `event` its type and `data` its JSON";

export const clusterRoutes = ({ plane, watches }: RouteContext): Route[] => [
  {
    method: "GET",
    path: "/v1/cluster/services",
    operationId: "listServices",
    summary: "List or watch the services: the stable names in front of functions' pods",
    tag,
    query: WatchQuery,
    headers: LastEventHeader,
    responses: {
      200: {
        description: `All services; ${WATCHED}.`,
        schema: pageOf("services", ref("Service")),
        streamed: ref("ServiceWatchEvent"),
      },
    },
    errors: ["OVERLOADED"],
    handle: (request, reply) => {
      if (isWatch(request)) watch(request, reply, watches.services, plane.cluster.serviceChanges);
      else sendJson(reply, 200, JSON.stringify({ services: plane.cluster.services() }));
    },
  },
  {
    method: "POST",
    path: "/v1/cluster/services",
    operationId: "createService",
    summary: "Create a service, in place of its function's default one or for one version",
    tag,
    body: ServiceBody,
    responses: { 201: { description: "The service; its spec is durable.", schema: ref("Service") } },
    errors: SPEC_ERRORS,
    handle: async (request, reply) => {
      sendJson(reply, 201, JSON.stringify(await plane.cluster.createService(request.body as ServiceSpec)));
    },
  },
  {
    method: "GET",
    path: "/v1/cluster/services/:name",
    operationId: "getService",
    summary: "Get a service",
    tag,
    params: NameParams,
    responses: { 200: { description: "The service.", schema: ref("Service") } },
    errors: ["UNKNOWN_SERVICE"],
    handle: (request, reply) => sendJson(reply, 200, JSON.stringify(plane.cluster.service(nameOf(request)))),
  },
  {
    method: "PUT",
    path: "/v1/cluster/services/:name",
    operationId: "putService",
    summary: "Create a service, or replace its spec",
    tag,
    params: NameParams,
    query: IfVersionQuery,
    body: ServicePutBody,
    responses: { 200: { description: "The service; its spec is durable.", schema: ref("Service") } },
    errors: [...SPEC_ERRORS, "PRECONDITION_FAILED"],
    handle: async (request, reply) => {
      const spec = { ...(request.body as Omit<ServiceSpec, "name">), name: nameOf(request) };
      sendJson(reply, 200, JSON.stringify(await plane.cluster.putService(spec, ifVersionOf(request))));
    },
  },
  {
    method: "DELETE",
    path: "/v1/cluster/services/:name",
    operationId: "deleteService",
    summary: "Delete a service that was created: its function has its default one again",
    tag,
    params: NameParams,
    query: IfVersionQuery,
    responses: { 204: { description: "There is no such spec any more, durably." } },
    errors: ["UNKNOWN_SERVICE", "PRECONDITION_FAILED"],
    handle: async (request, reply) => {
      await plane.cluster.deleteService(nameOf(request), ifVersionOf(request));
      reply.code(204).send();
    },
  },
  {
    method: "GET",
    path: "/v1/cluster/pods",
    operationId: "listClusterPods",
    summary: "List or watch the pods with their services and labels",
    tag,
    query: WatchQuery,
    headers: LastEventHeader,
    responses: {
      200: { description: `All pods; ${WATCHED}.`, schema: pageOf("pods", ref("ClusterPod")), streamed: ref("PodWatchEvent") },
    },
    errors: ["OVERLOADED"],
    handle: (request, reply) => {
      if (isWatch(request)) watch(request, reply, watches.pods, plane.cluster.podChanges);
      else sendJson(reply, 200, JSON.stringify({ pods: plane.cluster.pods() }));
    },
  },
  {
    method: "POST",
    path: "/v1/cluster/pods",
    operationId: "createPod",
    summary: "Start one pod more for a service, until its policy decides otherwise",
    tag,
    body: ClusterPodBody,
    responses: { 201: { description: "The pod, which starts.", schema: ref("ClusterPod") } },
    errors: ["UNKNOWN_SERVICE", "UNKNOWN_FUNCTION"],
    handle: (request, reply) => {
      const { service } = request.body as Static<typeof ClusterPodBody>;
      sendJson(reply, 201, JSON.stringify(plane.cluster.createPod(service)));
    },
  },
  {
    method: "GET",
    path: "/v1/cluster/pods/:id",
    operationId: "getPod",
    summary: "Get a pod",
    tag,
    params: PodParams,
    responses: { 200: { description: "The pod.", schema: ref("ClusterPod") } },
    errors: ["UNKNOWN_POD"],
    handle: (request, reply) => sendJson(reply, 200, JSON.stringify(plane.cluster.pod(idOf(request)))),
  },
  {
    method: "DELETE",
    path: "/v1/cluster/pods/:id",
    operationId: "deletePod",
    summary: "End a pod when it has finished what it executes; its service replaces it if it has to",
    tag,
    params: PodParams,
    query: PodDeleteQuery,
    responses: { 202: { description: "The pod, which takes no more calls.", schema: ref("ClusterPod") } },
    errors: ["UNKNOWN_POD"],
    handle: (request, reply) => {
      const { grace } = request.query as Static<typeof PodDeleteQuery>;
      const id = idOf(request);
      const pod = plane.cluster.pod(id);
      plane.cluster.deletePod(id, grace === undefined ? undefined : durationMs(grace));
      sendJson(reply, 202, JSON.stringify({ ...pod, state: "draining", ready: false }));
    },
  },
];

/** @throws {LockstepError} BAD_REQUEST when it says where a stream begins, and wants none */
const isWatch = (request: FastifyRequest): boolean => {
  const { watch, after } = request.query as Static<typeof WatchQuery>;
  if (watch === true) return true;
  if (after === undefined) return false;
  throw new LockstepError("BAD_REQUEST", "after needs watch=true", { details: { field: "after", in: "query" } });
};

const watch = (request: FastifyRequest, reply: FastifyReply, streams: EventStreams, feed: ChangeFeed<unknown>): void => {
  const after = Number(startOf(request, (request.query as Static<typeof WatchQuery>).after));
  openStream(streams, reply, { after: after > feed.position() ? 0 : after });
};

const nameOf = (request: FastifyRequest): string => (request.params as Static<typeof NameParams>).name;
const idOf = (request: FastifyRequest): string => (request.params as Static<typeof PodParams>).id;
const ifVersionOf = (request: FastifyRequest): number | undefined => (request.query as Static<typeof IfVersionQuery>).ifVersion;
