/** Verdicts on what the AWS SDK really throws, asked of servers that answer as S3 does. */
import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Server } from "node:net";
import { GetObjectCommand, S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";
import { expect, test } from "vitest";
import type { Failure } from "../lib/errors.ts";
import type { FaultClass } from "../lib/verdict.ts";
import { functionFailure } from "../pod/function-host.ts";
import { diagnose } from "./diagnose.ts";

const listening = async (server: Server): Promise<number> => {
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  return (server.address() as AddressInfo).port;
};

/** What getting an object there throws, as the pod tells it to the control plane. */
const failureAt = async (port: number, config: S3ClientConfig = {}): Promise<Failure> => {
  const client = new S3Client({
    endpoint: `http://127.0.0.1:${port}`,
    region: "us-east-1",
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: "AKID", secretAccessKey: "s3cret" },
    ...config,
  });
  try {
    await client.send(new GetObjectCommand({ Bucket: "orders", Key: "1" }));
  } catch (error) {
    return JSON.parse(JSON.stringify(functionFailure(error))) as Failure;
  } finally {
    client.destroy();
  }
  throw new Error("nothing was thrown");
};

const verdictOn = (failure: Failure) => diagnose({ function: "f", failure, lines: [] });

test.each<[number, string, FaultClass, boolean]>([
  [404, "NoSuchBucket", "resource-not-found", false],
  [404, "NoSuchKey", "resource-not-found", false],
  [400, "InvalidBucketName", "resource-not-found", false],
  [403, "AccessDenied", "permission", false],
  [403, "SignatureDoesNotMatch", "permission", false],
  [503, "SlowDown", "storage-unavailable", true],
  [500, "InternalError", "storage-unavailable", true],
  [400, "RequestTimeout", "timeout", true],
  [400, "InvalidArgument", "execution", false],
  [403, "SomethingNew", "permission", false],
  [502, "", "storage-unavailable", true],
])("S3 answers %i %s", async (status, code, fault, retryable) => {
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(status, { "content-type": "application/xml" });
    response.end(code === "" ? "" : `<?xml version="1.0"?><Error><Code>${code}</Code><Message>so it is</Message></Error>`);
  });
  const failure = await failureAt(await listening(server));
  server.close();
  const verdict = verdictOn(failure);
  expect(verdict).toMatchObject({ class: fault, retryable });
  expect(verdict.evidence[0]).toContain(`HTTP ${status}`);
  if (code !== "") expect(verdict.evidence[0]).toContain(code);
  expect(JSON.stringify([failure, verdict])).not.toContain("s3cret");
});

test("nobody listens", async () => {
  const server = createTcpServer();
  const port = await listening(server);
  await new Promise((resolve) => server.close(resolve));
  expect(verdictOn(await failureAt(port))).toMatchObject({ class: "storage-unavailable", retryable: true });
});

test("nobody answers in time", async () => {
  const server = createTcpServer((socket) => socket.resume());
  const failure = await failureAt(await listening(server), { requestHandler: { requestTimeout: 20, throwOnRequestTimeout: true } });
  server.close();
  expect(verdictOn(failure)).toMatchObject({ class: "timeout", retryable: true });
});

test("there are no credentials", async () => {
  const credentials = () => Promise.reject(Object.assign(new Error("none found"), { name: "CredentialsProviderError" }));
  expect(verdictOn(await failureAt(1, { credentials }))).toMatchObject({ class: "permission", retryable: false });
});
