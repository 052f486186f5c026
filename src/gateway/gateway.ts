/**
 * The platform's HTTP edge: turns requests into calls of the control plane, and what comes back, or is thrown, into answers. Owns sockets,
 * limits and the forms on the wire; decides nothing about runs.
 *
 * Invariants:
 * I1 A start is answered with success only after the control plane has said that the run is durable.
 * I2 Users' values pass as JSON text: they are parsed once, to know that they are JSON, and never on the way out.
 * I3 Whatever goes wrong is answered as a problem document with a code of the catalogue, and a stack never leaves the platform.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchemaCompiler } from "fastify";
import Fastify from "fastify";
import { systemClock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";
import type { ControlPlane } from "../protocol/control-plane.ts";
import type { JsonSchema } from "./check.ts";
import { compile, queryReader } from "./check.ts";
import { clusterRoutes } from "./cluster-routes.ts";
import { eventRoutes } from "./event-routes.ts";
import { EventStreams } from "./event-streams.ts";
import { faultRoutes } from "./fault-routes.ts";
import { createGuard } from "./guard.ts";
import { healthRoutes } from "./health-routes.ts";
import { hookRoutes } from "./hook-routes.ts";
import { Intake } from "./intake.ts";
import { parseBody } from "./json-body.ts";
import { objectRoutes } from "./object-routes.ts";
import type { GatewayOptions, Settings } from "./options.ts";
import { settingsOf } from "./options.ts";
import { platformRoutes } from "./platform-routes.ts";
import { problemText, sendProblem } from "./problem.ts";
import { recoveryRoutes } from "./recovery-routes.ts";
import { replicaRoutes } from "./replica-routes.ts";
import type { Route, RouteContext } from "./route.ts";
import { runRoutes } from "./run-routes.ts";
import { startRoutes } from "./start-routes.ts";
import { stateRoutes } from "./state-routes.ts";
import { Uploads } from "./uploads.ts";
import { Waits } from "./waits.ts";

export interface Gateway {
  /** Such as `http://127.0.0.1:4700`. */
  readonly url: string;
  readonly port: number;
  /** Ends event streams, answers waiting requests with how their runs stand, and lets the others finish, up to `closeTimeoutMs`. */
  close(): Promise<void>;
}

const CLOSE_IDLE_EVERY_MS = 20;
const REQUEST_TIMEOUT_MS = 120_000;
const KEEP_ALIVE_MS = 72_000;

/**
 * Listens for HTTP requests and passes them to the control plane.
 * @throws {LockstepError} ACCESS_DENIED when it would listen beyond loopback without an API key; ADDRESS_UNAVAILABLE when it cannot listen
 * there; BAD_REQUEST when an option is useless
 */
export const createGateway = async (plane: ControlPlane, options: GatewayOptions = {}): Promise<Gateway> => {
  const settings = settingsOf(options, systemClock);
  let closing = false;
  const context: RouteContext = {
    plane,
    settings,
    waits: new Waits(),
    streams: new EventStreams(plane, settings),
    watches: {
      pods: new EventStreams(plane.cluster.podChanges, settings),
      services: new EventStreams(plane.cluster.serviceChanges, settings),
    },
    uploads: new Uploads(REQUEST_TIMEOUT_MS, settings.uploadTimeoutMs),
    closing: () => closing,
  };
  const routes = allRoutes(context);
  const app = createApp(settings);
  addGuard(app, context, routes);
  addBodyParser(app, settings);
  context.uploads.serve(app.server);
  for (const route of routes) if (route.raw === undefined) addRoute(app, route, settings);
  for (const raw of [true, "stream"] as const) {
    addRawRoutes(
      app,
      routes.filter((route) => route.raw === raw),
      settings,
    );
  }
  app.setErrorHandler((error, _, reply) => sendProblem(reply, error, settings));
  app.setNotFoundHandler((request, reply) => notFound(request, reply, routes, settings));
  await listen(app, settings);
  const { port } = app.server.address() as { port: number };
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing = true;
    closed ??= shutDown(app, context);
    return closed;
  };
  return { url: `http://${settings.host.includes(":") ? `[${settings.host}]` : settings.host}:${port}`, port, close };
};

/** Every route, in the order of the document. */
export const allRoutes = (context: RouteContext): Route[] => {
  const routes: Route[] = [
    ...startRoutes(context),
    ...runRoutes(context),
    ...recoveryRoutes(context),
    ...platformRoutes(context),
    ...clusterRoutes(context),
    ...faultRoutes(context),
    ...replicaRoutes(context),
    ...hookRoutes(context),
    ...objectRoutes(context),
    ...stateRoutes(context),
    ...eventRoutes(context),
  ];
  routes.push(...healthRoutes(context, () => routes));
  return routes;
};

const createApp = (settings: Settings): FastifyInstance =>
  Fastify({
    logger: false,
    exposeHeadRoutes: false,
    // Refused by the guard, with a problem.
    return503OnClosing: false,
    serverFactory: (serve) => createFairServer(serve),
    bodyLimit: settings.bodyLimitBytes,
    genReqId: () => "",
    routerOptions: { maxParamLength: 1_000 },
    // Without these two, Fastify loads its general validator and serializer, which take longer than everything else at the start.
    schemaController: { compilersFactory: { buildValidator: () => validatorOf as never, buildSerializer: () => () => JSON.stringify } },
    frameworkErrors: (error, _, reply) => sendProblem(reply as unknown as FastifyReply, error, settings),
    clientErrorHandler: (error, socket) => refuseUnreadable(error, socket),
  });

const createFairServer = (serve: (request: IncomingMessage, response: ServerResponse) => void): Server => {
  const intake = new Intake(serve);
  // An import would read all that the module exports, and so load Node's HTTP client, which is larger than the platform.
  const { createServer } = process.getBuiltinModule("node:http");
  return createServer({ requireHostHeader: false, keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: REQUEST_TIMEOUT_MS }, intake.take);
};

const addGuard = (app: FastifyInstance, { settings, closing }: RouteContext, routes: readonly Route[]): void => {
  const guard = createGuard(settings);
  const open = new Set(routes.filter((route) => route.open === true).map(urlOf));
  const isOpen = (request: FastifyRequest): boolean => open.has(request.routeOptions.url ?? "");
  app.addHook("onRequest", (request, reply, done) => {
    if (closing()) {
      reply.header("connection", "close");
      if (!isOpen(request)) return done(new LockstepError("SHUTTING_DOWN", "the platform is stopping"));
    }
    guard(request, reply, isOpen(request), done);
  });
};

const addBodyParser = (app: FastifyInstance, { maxJsonDepth }: Settings): void => {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (request, body, done) => {
    const encoding = request.raw.headers["content-encoding"];
    if (encoding !== undefined && encoding !== "identity") {
      return done(new LockstepError("UNSUPPORTED_MEDIA_TYPE", `a body with Content-Encoding ${encoding} is not read`));
    }
    try {
      // A client that always sets the content type may still have nothing to say.
      done(null, body.length === 0 ? undefined : parseBody(body as Buffer, maxJsonDepth));
    } catch (error) {
      done(error as Error);
    }
  });
};

const PLACES: Record<string, { short: string; long: string }> = {
  body: { short: "body", long: "in the body" },
  querystring: { short: "query", long: "in the query" },
  params: { short: "path", long: "in the path" },
};

const validatorOf: FastifySchemaCompiler<JsonSchema> = ({ schema, httpPart }) => {
  const check = compile(schema);
  const read = httpPart === "querystring" ? queryReader(schema) : undefined;
  const { short, long } = PLACES[httpPart ?? "body"] as { short: string; long: string };
  return (received: unknown) => {
    // Fastify gives null where there is no body; the parser has refused a body that is null itself.
    const value = received === null ? {} : read === undefined ? received : read(received as object);
    const fault = check(value, "");
    if (fault === undefined) return value === received ? true : { value };
    const subject = fault.path === "" ? `the ${short}` : `${fault.path} ${long}`;
    return { error: new LockstepError("BAD_REQUEST", `${subject} ${fault.message}`, { details: { field: fault.path, in: short } }) };
  };
};

const addRoute = (app: FastifyInstance, route: Route, settings: Settings): void => {
  const schema: Record<string, unknown> = {};
  const wildcard = WILDCARD.exec(route.path)?.[1];
  if (route.params !== undefined) schema.params = route.params;
  if (route.body !== undefined) schema.body = route.body;
  // Unknown parameters are refused everywhere: a misspelt `wait` must not look like one that was obeyed.
  schema.querystring = route.query ?? { type: "object", additionalProperties: false };
  app.route({
    method: route.method,
    url: urlOf(route),
    schema,
    ...(wildcard === undefined ? {} : { preValidation: namesWildcard(wildcard) }),
    ...(route.bodyLimitBytes === undefined ? {} : { bodyLimit: route.bodyLimitBytes }),
    handler: (request, reply) => {
      // Fastify is not handed the promise: following it would cost as much as the rest of a start.
      route.handle(request, reply)?.catch((error: unknown) => sendProblem(reply, error, settings));
    },
  });
};

const WILDCARD = /\*(\w+)$/;

/** The route's path as Fastify writes it. */
const urlOf = ({ path }: Route): string => path.replace(WILDCARD, "*");

/** Fastify calls the parameter of every wildcard "*". */
const namesWildcard =
  (name: string) =>
  (request: FastifyRequest, _: FastifyReply, done: () => void): void => {
    const { "*": rest, ...others } = request.params as Record<string, string>;
    request.params = { ...others, [name]: rest };
    done();
  };

/** In a scope of their own, which reads every body as bytes: for all others, a body that is no JSON is refused. */
const addRawRoutes = (app: FastifyInstance, routes: readonly Route[], settings: Settings): void => {
  void app.register((scope, _, done) => {
    scope.removeAllContentTypeParsers();
    if (routes[0]?.raw === "stream") scope.addContentTypeParser("*", (_request, _body, parsed) => parsed(null));
    else scope.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, parsed) => parsed(null, body));
    for (const route of routes) addRoute(scope as unknown as FastifyInstance, route, settings);
    done();
  });
};

const notFound = (request: FastifyRequest, reply: FastifyReply, routes: readonly Route[], settings: Settings): void => {
  const path = (request.raw.url ?? "").split("?", 1)[0] as string;
  const methods = routes.filter((route) => patternOf(route).test(path)).map((route) => route.method);
  sendProblem(reply, methods.length === 0 ? unknownRoute(path) : wrongMethod(request, reply, path, methods), settings);
};

const unknownRoute = (path: string): LockstepError => new LockstepError("UNKNOWN_ROUTE", `there is nothing at ${path}`);

const wrongMethod = (request: FastifyRequest, reply: FastifyReply, path: string, methods: string[]): LockstepError => {
  reply.header("allow", methods.join(", "));
  const message = `${path} answers ${methods.join(" and ")}, not ${request.raw.method}`;
  return new LockstepError("METHOD_NOT_ALLOWED", message, { details: { allow: methods } });
};

const patternOf = (route: Route): RegExp =>
  new RegExp(`^${route.path.replaceAll(".", "\\.").replaceAll(/:\w+/g, "[^/]+").replace(WILDCARD, ".+")}$`);

/** Answers what is no HTTP request, on the bare socket. */
const refuseUnreadable = (error: Error & { code?: string }, socket: Socket): void => {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const reason =
    error.code === "HPE_HEADER_OVERFLOW"
      ? "its headers are too large"
      : error.code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? "it took too long to arrive"
        : "it is not HTTP";
  const body = problemText(new LockstepError("BAD_REQUEST", `the request cannot be read: ${reason}`));
  const head = `HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n`;
  socket.end(head + body);
};

const listen = async (app: FastifyInstance, { host, port }: Settings): Promise<void> => {
  try {
    // By name, Fastify would listen at both families with a second server.
    await app.listen({ host: host === "localhost" ? "127.0.0.1" : host, port });
  } catch (cause) {
    await app.close();
    const { code, message } = cause as NodeJS.ErrnoException;
    const reasons: Record<string, string> = { EADDRINUSE: "something listens there already", EACCES: "this user may not listen there" };
    const reason = reasons[code ?? ""] ?? message;
    throw new LockstepError("ADDRESS_UNAVAILABLE", `cannot listen at ${host} port ${port}: ${reason}`, { cause, details: { host, port } });
  }
};

const shutDown = async (app: FastifyInstance, { settings, waits, streams, watches }: RouteContext): Promise<void> => {
  for (const each of [streams, watches.pods, watches.services]) each.endAll();
  waits.releaseAll();
  const { clock, closeTimeoutMs } = settings;
  let cancelIdle = (): void => undefined;
  const closeIdle = (): void => {
    // Connections that were busy when the server closed are kept alive after their answer, so they are looked at again.
    app.server.closeIdleConnections();
    cancelIdle = clock.after(CLOSE_IDLE_EVERY_MS, closeIdle);
  };
  closeIdle();
  const cancelEnd = clock.after(closeTimeoutMs, () => app.server.closeAllConnections());
  await app.close();
  cancelIdle();
  cancelEnd();
};
