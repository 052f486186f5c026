/** What executions of the soak's functions have in common. */
import { randomUUID } from "node:crypto";
import { appendFileSync } from "node:fs";

export interface Work {
  /** The file that executions write to. */
  effects: string;
  n: number;
  ms: number;
}

export interface Stamp {
  token: string;
  n: number;
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export const leave = (effects: string, key: string, attempt: number): string => {
  const token = randomUUID();
  appendFileSync(effects, `${key} ${attempt} ${token}\n`);
  return token;
};
