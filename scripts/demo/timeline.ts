import { styleText } from "node:util";

/** What the demo shows: when it happened, what, and what that proves. */
export interface Timeline {
  scene(title: string): void;
  step(what: string, shows?: string): void;
  /** For the summary at the end. */
  proven(text: string): void;
  summary(): void;
}

const STAMP_WIDTH = 8;

export const createTimeline = (print: (line: string) => void): Timeline => {
  const startedAt = performance.now();
  const proofs: string[] = [];
  const stamp = (): string => styleText("dim", `${`+${Math.round(performance.now() - startedAt)}`.padStart(STAMP_WIDTH)} ms`);
  return {
    scene: (title) => print(`\n${" ".repeat(STAMP_WIDTH + 3)}  ${styleText("bold", title)}`),
    step: (what, shows) => {
      print(`${stamp()}  ${what}`);
      if (shows !== undefined) print(`${" ".repeat(STAMP_WIDTH + 3)}    ${styleText("cyan", shows)}`);
    },
    proven: (text) => void proofs.push(text),
    summary: () => {
      print(`\n${styleText("bold", `Done in ${((performance.now() - startedAt) / 1_000).toFixed(1)} s. Shown, and checked:`)}`);
      for (const proof of proofs) print(`  ${styleText("green", "ok")}  ${proof}`);
    },
  };
};
