import * as Schema from "typebox/schema";
import { describe, expect, test } from "vitest";
import { open } from "../../test/support/gateway.ts";
import { catalogue } from "../lib/errors.ts";

interface Operation {
  operationId: string;
  summary: string;
  tags: string[];
  security?: unknown[];
  parameters?: { name: string; in: string; required?: boolean; schema: object }[];
  requestBody?: { required: boolean; content: Record<string, { schema: object }> };
  responses: Record<string, { description: string; content?: Record<string, { schema: object }> }>;
}

const load = async () => {
  const { call } = await open({ version: "1.2.3" });
  const document = (await call("/v1/openapi.json")).json;
  const operations = Object.entries(document.paths as Record<string, Record<string, Operation>>).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ at: `${method.toUpperCase()} ${path}`, path, operation })),
  );
  return { document, operations };
};

const ADDRESSES = [
  "DELETE /v1/buckets/{bucket}/objects/{key}",
  "DELETE /v1/cluster/pods/{id}",
  "DELETE /v1/cluster/services/{name}",
  "DELETE /v1/state/{application}/{key}",
  "GET /healthz",
  "GET /metrics",
  "GET /readyz",
  "GET /v1/applications",
  "GET /v1/buckets",
  "GET /v1/buckets/{bucket}/objects",
  "GET /v1/buckets/{bucket}/objects/{key}",
  "GET /v1/cluster/pods",
  "GET /v1/cluster/pods/{id}",
  "GET /v1/cluster/services",
  "GET /v1/cluster/services/{name}",
  "GET /v1/events",
  "GET /v1/expressions/{id}",
  "GET /v1/faults",
  "GET /v1/hooks/{path}",
  "GET /v1/layers",
  "GET /v1/logs",
  "GET /v1/openapi.json",
  "GET /v1/pods",
  "GET /v1/replica-sets",
  "GET /v1/runs",
  "GET /v1/runs/{id}",
  "GET /v1/runs/{id}/certificates",
  "GET /v1/runs/{id}/journal",
  "GET /v1/runs/{id}/result",
  "GET /v1/state/{application}",
  "GET /v1/state/{application}/{key}",
  "GET /v1/triggers",
  "HEAD /v1/buckets/{bucket}/objects/{key}",
  "POST /v1/applications",
  "POST /v1/applications/check",
  "POST /v1/buckets/notifications",
  "POST /v1/cluster/pods",
  "POST /v1/cluster/services",
  "POST /v1/coordinators/{name}/runs",
  "POST /v1/drills",
  "POST /v1/expressions",
  "POST /v1/functions/{name}/calls",
  "POST /v1/hooks/{path}",
  "POST /v1/runs/retry",
  "POST /v1/runs/{id}/cancel",
  "POST /v1/runs/{id}/resolve",
  "POST /v1/runs/{id}/restart",
  "POST /v1/runs/{id}/resume",
  "POST /v1/runs/{id}/signals/{name}",
  "PUT /v1/buckets/{bucket}",
  "PUT /v1/buckets/{bucket}/objects/{key}",
  "PUT /v1/cluster/services/{name}",
  "PUT /v1/hooks/{path}",
  "PUT /v1/state/{application}/{key}",
];

const HOOKS = ["GET /v1/hooks/{path}", "POST /v1/hooks/{path}", "PUT /v1/hooks/{path}"];

describe("the OpenAPI document", () => {
  test("is of version 3.1 and tells the platform's", async () => {
    const { document } = await load();
    expect(document.openapi).toBe("3.1.0");
    expect(document.info).toMatchObject({ title: "Lockstep", version: "1.2.3" });
    expect(Object.keys(document).sort()).toEqual(["components", "info", "openapi", "paths", "security", "tags"]);
  });

  test("has every address, each with an identity of its own", async () => {
    const { operations, document } = await load();
    expect(operations.map(({ at }) => at).sort()).toEqual(ADDRESSES);
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    const tags = document.tags.map(({ name }: { name: string }) => name);
    for (const { operation } of operations) {
      expect(operation.summary).not.toBe("");
      expect(tags).toEqual(expect.arrayContaining(operation.tags));
    }
  });

  test("declares the parameters of each path", async () => {
    const { operations } = await load();
    for (const { path, operation } of operations) {
      const declared = (operation.parameters ?? []).filter((parameter) => parameter.in === "path");
      expect(declared.map(({ name }) => name)).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name));
      expect(declared.every(({ required }) => required === true)).toBe(true);
      expect((operation.parameters ?? []).every(({ in: place, schema }) => ["path", "query", "header"].includes(place) && schema)).toBe(
        true,
      );
    }
  });

  test("describes what every operation answers, problems included", async () => {
    const { operations } = await load();
    for (const { at, operation } of operations) {
      const statuses = Object.keys(operation.responses);
      expect(
        statuses.some((status) => status.startsWith("2")),
        at,
      ).toBe(true);
      expect(statuses, at).toEqual(expect.arrayContaining(["400", "403", "500"]));
      for (const [status, { description, content }] of Object.entries(operation.responses)) {
        expect(description, `${at} ${status}`).not.toBe("");
        if (status !== "204" && status !== "304" && !(at.startsWith("HEAD ") && status === "200"))
          expect(Object.values(content ?? {}).every(({ schema }) => typeof schema === "object") && content, `${at} ${status}`).toBeTruthy();
        if (Number(status) >= 400 && at !== "GET /readyz") expect(Object.keys(content ?? {})).toEqual(["application/problem+json"]);
      }
    }
  });

  test("names under each status the codes of that status alone", async () => {
    const { operations } = await load();
    const named = operations
      .flatMap(({ operation }) => Object.entries(operation.responses))
      .flatMap(([status, { description }]) =>
        [...description.matchAll(/`([A-Z_]{6,})`:/g)].map(([, code]) => ({ status: Number(status), code: code as keyof typeof catalogue })),
      );
    expect(named.length).toBeGreaterThan(100);
    for (const { status, code } of named) expect(catalogue[code].status).toBe(status);
  });

  test("says which operations need no key", async () => {
    const { operations } = await load();
    const open = operations.filter(({ operation }) => operation.security !== undefined).map(({ at }) => at);
    expect(open.sort()).toEqual(["GET /healthz", "GET /readyz", ...HOOKS]);
    // A webhook's signature may be refused, with the same status.
    for (const { at, operation } of operations)
      expect("401" in operation.responses).toBe(operation.security === undefined || HOOKS.includes(at));
  });

  test("refers to nothing that it does not hold, and holds no schema that is not valid", async () => {
    const { document } = await load();
    const { schemas } = document.components;
    const refs = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref]) => ref as string);
    expect(refs.length).toBeGreaterThan(20);
    for (const ref of refs) expect(Object.keys(schemas).map((name) => `#/components/schemas/${name}`)).toContain(ref);
    expect(Object.keys(schemas).filter((name) => !refs.includes(`#/components/schemas/${name}`))).toEqual([]);
    for (const name of Object.keys(schemas)) {
      expect(Schema.Compile({ $ref: `#/components/schemas/${name}`, components: { schemas } } as never).Check(0)).toBe(false);
    }
  });

  test("holds the very schemas that validate", async () => {
    const { operations } = await load();
    const start = operations.find(({ at }) => at === "POST /v1/functions/{name}/calls")?.operation;
    const { StartBody, WaitQuery } = await import("./schemas.ts");
    expect(start?.requestBody).toEqual({
      required: false,
      content: { "application/json": { schema: JSON.parse(JSON.stringify(StartBody)) } },
    });
    const { description, ...schema } = WaitQuery.properties.wait;
    expect(start?.parameters).toContainEqual({ name: "wait", in: "query", description, schema });
    expect(operations.find(({ at }) => at === "POST /v1/expressions")?.operation.requestBody?.required).toBe(true);
  });
});
