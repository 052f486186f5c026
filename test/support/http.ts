import { once } from "node:events";
import type { IncomingHttpHeaders } from "node:http";
import { request } from "node:http";
import { connect } from "node:net";

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers whose shape they are about to check
  json: any;
}

export interface Ask {
  method?: string;
  /** Sent as JSON, unless it is text already. */
  body?: unknown;
  headers?: Record<string, string>;
}

/** One request on a connection of its own; unlike `fetch`, it sends any header. */
export const ask = (base: string, path: string, { method, body, headers = {} }: Ask = {}): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const text = body === undefined || typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const sent = request(`${base}${path}`, {
      method: method ?? (body === undefined ? "GET" : "POST"),
      agent: false,
      headers: {
        ...(text === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(text) }),
        ...headers,
      },
    });
    sent.on("error", reject);
    sent.on("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const received = Buffer.concat(chunks).toString();
        const isJson = received !== "" && /json/.test(response.headers["content-type"] ?? "");
        resolve({
          status: response.statusCode as number,
          headers: response.headers,
          text: received,
          json: isJson ? JSON.parse(received) : undefined,
        });
      });
    });
    sent.end(text);
  });

/** Sends bytes to a port of this machine and gives what comes back until the other side ends. */
export const exchange = async (port: number, text: string): Promise<string> => {
  const socket = connect(port, "127.0.0.1");
  socket.write(text);
  let received = "";
  socket.on("data", (chunk) => {
    received += chunk;
  });
  await once(socket, "close");
  return received;
};
