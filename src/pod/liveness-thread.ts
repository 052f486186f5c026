import { memoryUsage } from "node:process";
import { workerData } from "node:worker_threads";
import type { Beat } from "../protocol/pod.ts";
import { Link } from "./link.ts";
import { readPulse } from "./liveness.ts";

const { address, pod, token, heartbeatMs, buffer } = workerData as {
  address: string;
  pod: string;
  token: string;
  heartbeatMs: number;
  buffer: SharedArrayBuffer;
};

const pulse = readPulse(buffer);
let turns = pulse.turns();
let turnedAt = Date.now();

const beat = (): Beat => {
  const now = Date.now();
  if (pulse.turns() !== turns) {
    turns = pulse.turns();
    turnedAt = now;
  }
  return { t: "beat", blockedMs: now - turnedAt, run: pulse.run(), rssMb: Math.round(memoryUsage.rss() / 1_048_576) };
};

const link = new Link<never, Beat>(address, {
  open: () => {
    link.send({ t: "join", pod, token });
    link.send(beat());
    setInterval(() => link.send(beat()), heartbeatMs);
  },
  messages: () => {},
  // The main thread sees the end of its own connection too, but not while user code keeps it busy. Here `process.exit` would only end the thread.
  closed: () => process.kill(process.pid, "SIGKILL"),
});
