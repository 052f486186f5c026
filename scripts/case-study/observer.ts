/**
 * The world around the application: a ledger that can be down, silent or forgetful, and a clock of its own that attempts report to just
 * before they fail.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Observer {
  readonly url: string;
  /** A port on which nobody listens until `openLedger`. */
  readonly closedPort: number;
  /** When (Unix ms) the first attempt of an order's payment was about to fail. */
  failingSince(order: string): number | undefined;
  /** What the ledger holds for an order. */
  entry(order: string): string | undefined;
  /** Lets a ledger listen on the closed port from now on. */
  openLedger(): Promise<void>;
  close(): Promise<void>;
}

export const createObserver = async (): Promise<Observer> => {
  const since = new Map<string, number>();
  const entries = new Map<string, string>();
  const forgotten = new Set<string>();
  const servers: Server[] = [];

  const ledger = async (request: IncomingMessage, response: ServerResponse, id: string): Promise<void> => {
    if (request.method !== "PUT") return void response.writeHead(entries.has(id) ? 200 : 404).end();
    const text = await bodyOf(request);
    // It says yes, and keeps nothing: only reading it back finds that out.
    if (id.startsWith("check-failed") && !forgotten.has(id)) forgotten.add(id);
    else entries.set(id, text);
    response.writeHead(204).end();
  };

  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    const [, place = "", , last = ""] = new URL(request.url ?? "/", "http://observer").pathname.split("/");
    const id = decodeURIComponent(last);
    if (place === "ledger" || place === "late") return void ledger(request, response, id);
    if (place === "silent") return;
    const order = decodeURIComponent(new URL(request.url ?? "/", "http://observer").pathname.split("/")[2] ?? "");
    if (!since.has(order)) since.set(order, Date.now());
    response.writeHead(204).end();
  };

  const listen = async (port: number): Promise<number> => {
    const server = createServer(answer);
    servers.push(server);
    await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", resolve));
    return (server.address() as AddressInfo).port;
  };

  const port = await listen(0);
  const closedPort = await freePort();
  return {
    url: `http://127.0.0.1:${port}`,
    closedPort,
    failingSince: (order) => since.get(order),
    entry: (order) => entries.get(order),
    openLedger: async () => void (await listen(closedPort)),
    close: async () => {
      for (const server of servers) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    },
  };
};

const bodyOf = async (request: IncomingMessage): Promise<string> => {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return text;
};

const freePort = async (): Promise<number> => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
};
