/**
 * The rings, one Vitest project each, so that `npx vitest run --project unit` runs one alone. `scripts/test.mjs` brings the
 * servers and the Python environments that the outer rings need and hands them over in the environment.
 */
import { defineConfig } from "vitest/config";
import { LongestFirst } from "./scripts/lib/longest-first.ts";

/** `expect.poll` gives up after a second by default, in which a busy machine may not come to anything. */
const patient = { poll: { timeout: 30_000 } };

const outerRing = {
  expect: patient,
  // Several waits of half a minute, each of which says more than that the test took too long.
  testTimeout: 120_000,
  hookTimeout: 180_000,
};

export default defineConfig({
  test: {
    pool: "forks",
    // Two files at a time, no more: those of the outer rings start real peers, and a peer that waits for the processor makes every
    // deadline a lie. Each has a virtual host, a key prefix or servers of its own.
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    bail: 0,
    // A test that could not run must not look like one that passed; scripts/test.mjs fails a run without any test.
    passWithNoTests: true,
    projects: [
      {
        test: {
          name: "unit",
          include: ["protocol/**/*.test.ts", "src/**/*.test.ts", "scripts/**/*.test.ts"],
          exclude: ["**/*.service.test.ts", "**/node_modules/**", "dist/**"],
          // Longer than `waitFor` waits: what was waited for says more than that the test took too long.
          testTimeout: 40_000,
          hookTimeout: 40_000,
          expect: patient,
        },
      },
      {
        test: {
          name: "services",
          include: ["{src,protocol}/**/*.service.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          expect: patient,
        },
      },
      {
        test: {
          name: "interop",
          include: ["interop-tests/**/*.test.ts"],
          exclude: ["interop-tests/docs/**"],
          ...outerRing,
        },
      },
      { test: { name: "docs", include: ["interop-tests/docs/**/*.test.ts"], ...outerRing, testTimeout: 180_000 } },
    ],
  },
});
