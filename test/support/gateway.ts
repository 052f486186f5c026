import { afterEach, expect } from "vitest";
import type { Gateway } from "../../src/gateway/gateway.ts";
import { createGateway } from "../../src/gateway/gateway.ts";
import type { GatewayOptions } from "../../src/gateway/options.ts";
import { FakeControlPlane } from "./fake-control-plane.ts";
import type { Answer, Ask } from "./http.ts";
import { ask } from "./http.ts";
import { deviation } from "./openapi.ts";

export interface Running {
  plane: FakeControlPlane;
  gateway: Gateway;
  /** What went wrong behind an INTERNAL answer. */
  defects: unknown[];
  /** One request, whose answer must be as the OpenAPI document says. */
  call(path: string, what?: Ask): Promise<Answer>;
  /** One request, whatever the answer. */
  raw(path: string, what?: Ask): Promise<Answer>;
}

const opened: Gateway[] = [];

/** A gateway on a free port in front of a fake control plane, closed after the test. */
export const open = async (options: GatewayOptions = {}): Promise<Running> => {
  const plane = new FakeControlPlane();
  const defects: unknown[] = [];
  const gateway = await createGateway(plane, { port: 0, closeTimeoutMs: 500, onDefect: (error) => defects.push(error), ...options });
  opened.push(gateway);
  const raw = (path: string, what?: Ask): Promise<Answer> => ask(gateway.url, path, what);
  const headers: Record<string, string> = options.apiKey === undefined ? {} : { authorization: `Bearer ${options.apiKey}` };
  const document = (await raw("/v1/openapi.json", { headers })).json;
  const call = async (path: string, what: Ask = {}): Promise<Answer> => {
    const answer = await raw(path, what);
    const method = what.method ?? (what.body === undefined ? "GET" : "POST");
    expect(deviation(document, method, path, answer)).toBeUndefined();
    return answer;
  };
  return { plane, gateway, defects, call, raw };
};

afterEach(async () => {
  await Promise.all(opened.splice(0).map((gateway) => gateway.close()));
});
