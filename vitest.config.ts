/**
 * The rings, one Vitest project each, so that `npx vitest run --project unit` runs one alone. `scripts/test.mjs` brings the
 * servers and the Python environments that the outer rings need and hands them over in the environment.
 */
import { defineConfig } from "vitest/config";

const outerRing = {
  testTimeout: 60_000,
  hookTimeout: 120_000,
  // One file at a time: each starts real peers, and a peer that waits for the processor makes every deadline a lie.
  fileParallelism: false,
};

export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    bail: 0,
    // A test that could not run must not look like one that passed; scripts/test.mjs fails a run without any test.
    passWithNoTests: true,
    projects: [
      {
        test: {
          name: "unit",
          include: ["protocol/**/*.test.ts", "src/**/*.test.ts", "scripts/**/*.test.ts"],
          exclude: ["**/*.service.test.ts", "**/node_modules/**", "dist/**"],
          testTimeout: 10_000,
          hookTimeout: 10_000,
        },
      },
      {
        test: {
          name: "services",
          include: ["{src,protocol}/**/*.service.test.ts"],
          testTimeout: 30_000,
          hookTimeout: 60_000,
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
