const test = require("node:test");
const request = require("supertest");
const app = require("./server.js");

test("a day has its dish", async () => {
  await request(app).get("/lunch/1").expect(200, { day: 1, dish: "rajma" });
});

test("other days have none", async () => {
  await request(app).get("/lunch/9").expect(404);
});
