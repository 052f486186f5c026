import { coordinator, fn } from "lockstep";

/** Keeps an account's balance at its replicas. */
export const account = fn.stateful(
  "account",
  {
    key: "account",
    initial: () => ({ balance: 0 }),
    apply: (state, input: { account: string; amount: number }, ctx) => {
      const balance = state.balance + input.amount;
      if (balance < 0) throw new Error(`only ${state.balance} is left`);
      return { state: { balance }, value: { balance, at: ctx.now(), receipt: ctx.uuid() } };
    },
    compensate: (state, { input }) => ({ state: { balance: state.balance - input.amount } }),
  },
  { retry: { attempts: 1, onExhausted: "fail" } },
);

/** Executed by its replicas, and nothing else about it is special. */
export const interest = fn("interest", ({ balance, rate }: { balance: number; rate: number }) => balance * rate, { trust: "quorum" });

/** Pays in, takes it back, and tells what is left. */
export const regret = coordinator("regret", async (ctx, input: { account: string; amount: number }) => {
  await ctx.call(account, input);
  await ctx.compensate();
  return (await ctx.call(account, { ...input, amount: 0 })).balance;
});
