/**
 * Sends requests all at once: each connection writes all of its own without waiting for answers. A client that awaits each answer would be
 * slower than the platform that it is to surprise, and take its processors away.
 */
import { connect } from "node:net";
import { ResponseReader } from "../../bench/lib/http-response.ts";
import { NotShown } from "../demo/checks.ts";

export interface Start {
  path: string;
  body: unknown;
}

const CONNECTIONS = 32;

/**
 * The runs' ids in the order of the requests.
 * @param requests as `encodeAll` has written them: what a client computes first is no part of what it measures
 * @param onAccepted is told as the answers come
 */
export const sendAll = async (url: string, requests: readonly string[], onAccepted: (i: number) => void): Promise<string[]> => {
  const ids: string[] = [];
  const connections = Math.min(CONNECTIONS, requests.length);
  const sendShare = (first: number): Promise<void> => {
    const own = requests.filter((_, i) => i % connections === first);
    return exchange(url, own, (nth, id) => {
      const i = first + nth * connections;
      ids[i] = id;
      onAccepted(i);
    });
  };
  await Promise.all(Array.from({ length: connections }, (_, first) => sendShare(first)));
  return ids;
};

export const encodeAll = (url: string, starts: readonly Start[]): string[] => {
  const { host } = new URL(url);
  return starts.map(({ path, body }) => {
    const text = JSON.stringify(body);
    const head = [`POST ${path} HTTP/1.1`, `host: ${host}`, "content-type: application/json"];
    return `${[...head, `content-length: ${Buffer.byteLength(text)}`].join("\r\n")}\r\n\r\n${text}`;
  });
};

const exchange = (url: string, requests: readonly string[], onId: (nth: number, id: string) => void): Promise<void> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port), noDelay: true }, () => void socket.write(requests.join("")));
    let answered = 0;
    const reader = new ResponseReader((status, body) => {
      if (status !== 202) return void socket.destroy(new NotShown(`a request of the burst was refused: ${status} ${body}`));
      onId(answered++, (JSON.parse(body) as { id: string }).id);
      if (answered === requests.length) socket.destroy();
    });
    socket.on("data", (chunk) => {
      try {
        reader.push(chunk);
      } catch (error) {
        socket.destroy(error as Error);
      }
    });
    socket.once("error", reject);
    socket.once("close", () => (answered === requests.length ? resolve() : reject(new NotShown("the platform closed a connection"))));
  });
