import { TerminalError } from "lockstep";

/** Cards for trying things out: what this "bank" does depends on the number alone. */
const DECLINED = "4000-0000";
const SLOW_TO_ANSWER = "4000-0001";
const IS_DOWN = "4000-0002";
const FORGETS = "4000-0003";

const booked = new Set<string>();

/**
 * Stands for the interface of a bank, and fails as one that is reached over the network does.
 *
 * @param key the idempotency key: a payment that was made before is not made again
 */
export const charge = (card: string, key: string, attempt: number): string => {
  if (card === DECLINED) throw new TerminalError("the bank declined the card", { code: "CARD_DECLINED" });
  if (card === IS_DOWN) throw Object.assign(new Error("the bank does not answer"), { code: "ECONNREFUSED" });
  // An ordinary error is tried again: this one goes away with the second attempt.
  if (card === SLOW_TO_ANSWER && attempt === 1) throw new Error("the bank did not answer in time");
  // It says that it was paid, and keeps nothing.
  if (card !== FORGETS || attempt > 1) booked.add(key);
  return `receipt:${key}`;
};

/** Whether the bank knows of the payment. */
export const isBooked = (key: string): boolean => booked.has(key);
