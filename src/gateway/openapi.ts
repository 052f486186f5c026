/** Writes the OpenAPI document from the routes: the schemas in it are the ones that validate. */
import type { ErrorCode } from "../lib/errors.ts";
import { catalogue } from "../lib/errors.ts";
import { components, ref } from "./answers.ts";
import type { JsonSchema } from "./check.ts";
import { PROBLEM_TYPE } from "./problem.ts";
import type { DocumentSchema, ResponseSpec, Route } from "./route.ts";

/** What any request may be answered with. */
const COMMON: readonly ErrorCode[] = ["BAD_REQUEST", "ACCESS_DENIED", "INTERNAL"];
const OF_PLANE: readonly ErrorCode[] = ["UNAUTHENTICATED", "JOURNAL_UNAVAILABLE", "SHUTTING_DOWN"];
const OF_BODIES: readonly ErrorCode[] = ["PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"];

const TAGS = [
  { name: "start", description: "Starting runs." },
  { name: "runs", description: "Looking at runs and acting on them." },
  { name: "recovery", description: "Deciding for runs that stopped." },
  { name: "state", description: "Applications' state." },
  { name: "objects", description: "Buckets of objects, whose PUTs start runs." },
  { name: "platform", description: "Applications, pods, layers, logs and events." },
  { name: "cluster", description: "Services, which are stable names in front of functions' pods, and pods." },
  { name: "health", description: "For supervisors and monitoring." },
];

export const openApiDocument = (routes: readonly Route[], version: string): Record<string, unknown> => {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/[:*](\w+)/g, "{$1}");
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Lockstep",
      version,
      description:
        "Durable functions, coordinators and expressions over HTTP. Errors are problem documents of RFC 9457 with a stable `code`.",
    },
    tags: TAGS,
    security: [{}, { apiKey: [] }],
    paths,
    components: {
      schemas: components,
      securitySchemes: { apiKey: { type: "http", scheme: "bearer", description: "Needed when the platform was given an API key." } },
    },
  };
};

const operation = (route: Route): Record<string, unknown> => {
  const parameters = [
    ...parametersIn("path", route.params?.properties, route.params?.required),
    ...parametersIn("query", route.query?.properties),
    ...parametersIn("header", route.headers),
  ];
  return {
    operationId: route.operationId,
    summary: route.summary,
    tags: [route.tag],
    ...(route.open === true ? { security: [{}] } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(route.body === undefined ? {} : { requestBody: requestBody(route.body) }),
    ...(route.raw !== undefined && route.method !== "GET" ? { requestBody: { required: false, content: { "*/*": { schema: {} } } } } : {}),
    responses: { ...successes(route), ...problems(route) },
  };
};

const parametersIn = (place: string, schemas: Readonly<Record<string, JsonSchema>> = {}, required: readonly string[] = []) =>
  Object.entries(schemas).map(([name, { description, ...schema }]) => ({
    name,
    in: place,
    ...(required.includes(name) ? { required: true } : {}),
    ...(description === undefined ? {} : { description }),
    schema,
  }));

const requestBody = (schema: JsonSchema) => ({
  required: (schema.required ?? []).length > 0,
  content: { "application/json": { schema } },
});

const successes = (route: Route): Record<string, unknown> =>
  Object.fromEntries(Object.entries(route.responses).map(([status, response]) => [status, success(response)]));

const success = ({ description, schema, mediaType = "application/json", streamed, headers }: ResponseSpec) => {
  const content = {
    ...(schema === undefined ? {} : { [mediaType]: { schema } }),
    ...(streamed === undefined ? {} : { "text/event-stream": { schema: { type: "string", contentSchema: streamed } } }),
  };
  return {
    description,
    ...(headers === undefined ? {} : { headers: headersOf(headers) }),
    ...(Object.keys(content).length === 0 ? {} : { content }),
  };
};

const headersOf = (headers: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(headers).map(([name, description]) => [name, { description, schema: { type: "string" } }]));

const problems = (route: Route): Record<string, unknown> => {
  const codes = [
    ...COMMON,
    ...(route.open === true ? [] : OF_PLANE),
    ...(route.body === undefined ? [] : OF_BODIES),
    ...(route.errors ?? []),
  ];
  const statuses = [...new Set(codes.map((code) => catalogue[code].status))].sort((a, b) => a - b);
  return Object.fromEntries(
    statuses.map((status) => [
      status,
      problem(
        status,
        [...new Set(codes)].filter((code) => catalogue[code].status === status),
      ),
    ]),
  );
};

const problem = (status: number, codes: ErrorCode[]) => ({
  description: codes.map((code) => `\`${code}\`: ${catalogue[code].means}`).join(" "),
  ...(status === 429 || status === 503 ? { headers: headersOf({ "retry-after": "Seconds." }) } : {}),
  content: { [PROBLEM_TYPE]: { schema: problemOf(codes) } },
});

const problemOf = (codes: ErrorCode[]): DocumentSchema => ({
  allOf: [ref("Problem"), { type: "object", properties: { code: { enum: codes } } }],
});
