import { expect, test } from "vitest";
import { isRequest } from "./shape.ts";

test("a session may keep as many operations as a platform lets wait by default, and not any number", () => {
  const request = (count: number) => ({
    ...{ client: "client", session: 1, number: 1, settled: 0, signature: "s" },
    body: { t: "session", keep: Array.from({ length: count }, (_, i) => `run/${i}/1`) },
  });
  expect(isRequest(request(200_000))).toBe(true);
  expect(isRequest(request(300_000))).toBe(false);
});
