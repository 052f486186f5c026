/**
 * Decides, before anything of a request is read, whether its sender may talk to the platform at all. Owns the checks of Host (a web page whose
 * name was rebound to this address), Origin and Sec-Fetch-Site (a web page that calls across sites) and of the API key; knows nothing of
 * routes beyond which of them are open.
 */
import { hash, timingSafeEqual } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import { LockstepError } from "../lib/errors.ts";

export interface GuardSettings {
  host: string;
  apiKey?: string | undefined;
  allowedHosts: readonly string[];
  allowedOrigins: readonly string[];
}

/** Calls `done` with a refusal or nothing, or answers by itself (a preflight). `open` routes need no key. */
export type Guard = (request: FastifyRequest, reply: FastifyReply, open: boolean, done: (refusal?: Error) => void) => void;

export const createGuard = (settings: GuardSettings): Guard => {
  const knowsHost = hostCheck(settings);
  const origins = new Set(settings.allowedOrigins.map((origin) => origin.toLowerCase()));
  const hasKey = keyCheck(settings.apiKey);
  return (request, reply, open, done) => {
    const { headers, socket } = request.raw;
    if (!knowsHost(headers.host, socket.localAddress)) return done(wrongHost(headers.host));
    const { origin } = headers;
    if (origin === undefined) {
      if (isCrossSite(headers["sec-fetch-site"])) return done(denied("requests from other web sites are refused"));
    } else if (origins.has(origin.toLowerCase())) {
      if (allowOrigin(request, reply, origin)) return;
    } else if (origin !== `http://${headers.host}`) {
      return done(denied(`requests from web pages of ${origin} are refused; allowedOrigins may name it`));
    }
    if (!open && !hasKey(headers.authorization)) return done(unauthenticated(headers.authorization));
    done();
  };
};

const denied = (message: string): LockstepError => new LockstepError("ACCESS_DENIED", message);

const wrongHost = (host: string | undefined): LockstepError =>
  denied(host === undefined ? "the Host header is missing" : `this platform is not called ${host}; allowedHosts may name it`);

const unauthenticated = (authorization: string | undefined): LockstepError =>
  new LockstepError("UNAUTHENTICATED", authorization === undefined ? "the Authorization header is missing" : "the API key is wrong");

const hostCheck = ({ host, allowedHosts }: GuardSettings): ((header: string | undefined, localAddress: string | undefined) => boolean) => {
  const names = new Set(["localhost", "127.0.0.1", "::1", host, ...allowedHosts].map((name) => name.toLowerCase()));
  // Clients keep to one spelling, so the last accepted header is nearly always this one's.
  let accepted: string | undefined;
  return (header, localAddress) => {
    if (header === undefined) return false;
    if (header === accepted) return true;
    const name = hostname(header);
    if (name === undefined) return false;
    if (names.has(name)) {
      accepted = header;
      return true;
    }
    // An address cannot be rebound: who writes the one that the request came in on has not been misled by a name.
    return name === localAddress?.replace(/^::ffff:/, "");
  };
};

const hostname = (header: string): string | undefined => {
  const match = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?$/i.exec(header);
  return (match?.[1] ?? match?.[2])?.toLowerCase();
};

// Pages of another port of this machine are "same-site", and no better known.
const isCrossSite = (site: string | string[] | undefined): boolean => site === "cross-site" || site === "same-site";

/** Lets a page of an allowed origin read the answer; tells whether the request was a preflight, which is thereby answered. */
const allowOrigin = (request: FastifyRequest, reply: FastifyReply, origin: string): boolean => {
  reply
    .header("access-control-allow-origin", origin)
    .header("vary", "Origin")
    .header("access-control-expose-headers", "Content-Range, ETag, Location, Retry-After");
  if (request.raw.method !== "OPTIONS" || request.raw.headers["access-control-request-method"] === undefined) return false;
  reply.header("access-control-allow-methods", "GET, HEAD, POST, PUT, DELETE");
  reply.header(
    "access-control-allow-headers",
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Range",
  );
  reply.header("access-control-max-age", "600").code(204).send();
  return true;
};

const keyCheck = (apiKey: string | undefined): ((authorization: string | undefined) => boolean) => {
  if (apiKey === undefined) return () => true;
  const digest = (key: string): Buffer => hash("sha256", key, "buffer");
  const expected = digest(apiKey);
  // Digests have one length, so neither the key's length nor its beginning shows in the time that the comparison takes.
  return (authorization) => {
    const key = /^bearer +([\x21-\x7e]+) *$/i.exec(authorization ?? "")?.[1];
    return key !== undefined && timingSafeEqual(digest(key), expected);
  };
};
