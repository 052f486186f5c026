/** Replica sets, as far as they may be seen from outside: certificates are with their runs. */
import { pageOf, ref } from "./answers.ts";
import type { Route, RouteContext } from "./route.ts";
import { sendJson } from "./route.ts";

export const replicaRoutes = ({ plane }: RouteContext): Route[] => [
  {
    method: "GET",
    path: "/v1/replica-sets",
    operationId: "listReplicaSets",
    summary: "List the replica sets that are at work",
    tag: "platform",
    responses: {
      200: { description: "Those that calls have asked for and nobody has ended.", schema: pageOf("replicaSets", ref("ReplicaSet")) },
    },
    handle: (_request, reply) => {
      sendJson(reply, 200, JSON.stringify({ replicaSets: plane.replicaSets() }));
    },
  },
];
