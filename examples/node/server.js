const express = require("express");

const days = ["dal", "rajma", "chole", "sambar", "kadhi"];
const app = express();

app.get("/lunch/:day", (request, response) => {
  const dish = days[Number(request.params.day)];
  if (dish === undefined) return response.sendStatus(404);
  return response.json({ day: Number(request.params.day), dish });
});

module.exports = app;

if (require.main === module) {
  const server = app.listen(process.env.PORT || 3000);
  process.on("SIGTERM", () => server.close());
}
