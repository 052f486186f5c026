import type { Digest } from "../../src/consensus/crypto.ts";
import type { Operation } from "../../src/consensus/messages.ts";
import { hashText } from "../../src/lib/random.ts";

/** What clients ask of the replicated machine; `Operation.key` is the bank, and each bank has its own accounts. */
export type Command =
  | { t: "deposit"; to: string; amount: number }
  | { t: "transfer"; from: string; to: string; amount: number }
  | { t: "read"; account: string }
  /** Its result is made of the agreed time and the agreed seed. */
  | { t: "roll" };

interface State {
  /** Operations that this bank has seen: it is in each result, so that an order or a count that differs shows in all that follows. */
  count: number;
  accounts: Record<string, number>;
}

/**
 * The deterministic machine that is replicated. The same code is the executor's in each replica and the checker's, which applies the agreed
 * operations one after the other. Money is only made by deposits.
 */
export class Bank {
  readonly #banks = new Map<string, State>();

  apply(operation: Operation, time: number, seed: Digest): string {
    const state = this.#banks.get(operation.key) ?? { count: 0, accounts: {} };
    this.#banks.set(operation.key, state);
    state.count++;
    const command = JSON.parse(operation.input) as Command;
    switch (command.t) {
      case "deposit":
        return value(state.count, deposit(state, command.to, command.amount));
      case "transfer":
        if ((state.accounts[command.from] ?? 0) < command.amount) return failure(state.count, "POOR");
        deposit(state, command.from, -command.amount);
        return value(state.count, deposit(state, command.to, command.amount));
      case "read":
        return value(state.count, state.accounts[command.account] ?? 0);
      case "roll":
        return value(state.count, hashText(`${time} ${seed}`));
    }
  }

  /** One page for each bank, which is small: transfers are of several pages. */
  pages(): string[] {
    return [...this.#banks]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, { count, accounts }]) => JSON.stringify([key, count, Object.entries(accounts).sort(([a], [b]) => (a < b ? -1 : 1))]));
  }

  static of(pages: readonly string[]): Bank {
    const bank = new Bank();
    for (const page of pages) {
      const [key, count, accounts] = JSON.parse(page) as [string, number, [string, number][]];
      bank.#banks.set(key, { count, accounts: Object.fromEntries(accounts) });
    }
    return bank;
  }
}

const deposit = (state: State, account: string, amount: number): number => {
  const balance = (state.accounts[account] ?? 0) + amount;
  state.accounts[account] = balance;
  return balance;
};

const value = (count: number, result: number): string => JSON.stringify({ value: { count, result } });

const failure = (count: number, code: string): string => JSON.stringify({ failure: { code, message: `operation ${count}` } });
