import type { FastifyReply } from "fastify";
import { expect, test, vi } from "vitest";
import { sendProblem } from "./problem.ts";

const answerTo = (thrown: unknown) => {
  const onDefect = vi.fn();
  const answer = { status: 0, text: "" };
  const reply = {
    request: { raw: { method: "POST", url: "/v1/expressions?wait=1s" }, routeOptions: { bodyLimit: 5 } },
    code: (status: number) => {
      answer.status = status;
      return reply;
    },
    header: () => reply,
    send: (text: string) => {
      answer.text = text;
    },
  };
  sendProblem(reply as unknown as FastifyReply, thrown, { retryAfterSeconds: 1, onDefect });
  return { ...answer, code: JSON.parse(answer.text).code, defects: onDefect.mock.calls };
};

test("a client that went in the middle of its body is no defect", () => {
  const aborted = Object.assign(new Error("aborted"), { code: "ECONNRESET", statusCode: 400 });
  expect(answerTo(aborted)).toMatchObject({ status: 400, code: "BAD_REQUEST", defects: [] });
});

test("a refusal of the HTTP framework is the client's fault, unless it is a failure of the server", () => {
  const refusal = Object.assign(new Error("wrong"), { code: "FST_ERR_SOMETHING", statusCode: 400 });
  expect(answerTo(refusal)).toMatchObject({ status: 400, code: "BAD_REQUEST", defects: [] });
  const failure = Object.assign(new Error("wrong"), { code: "FST_ERR_SOMETHING", statusCode: 500 });
  expect(answerTo(failure)).toMatchObject({ status: 500, code: "INTERNAL", defects: [[failure, "POST /v1/expressions"]] });
});

test("an error of the control plane's own code is a defect, whatever status it claims", () => {
  const error = Object.assign(new Error("secret"), { code: "ENOENT", statusCode: 404 });
  expect(answerTo(error)).toMatchObject({ status: 500, code: "INTERNAL", defects: [[error, "POST /v1/expressions"]] });
  expect(answerTo(error).text).not.toContain("secret");
});
