// Says the sample under the pointer. The page is whole without it.
for (const plot of document.querySelectorAll("[data-samples]")) {
  const processes = JSON.parse(plot.dataset.samples);
  const said = plot.closest("figure").querySelector(".said");
  const usual = said.textContent;
  const all = processes.flatMap((process) =>
    process.samples.map((ns, index) => ({ process, ns, index })));
  const cursor = document.createElement("div");
  cursor.className = "cursor";
  const words = ({ process, ns, index }) => {
    const warm = index < process.warmup;
    const place = warm ? `warm-up ${index + 1}` : `iteration ${index - process.warmup + 1}`;
    return `process ${process.number}, ${place}: ${(ns / 1e6).toFixed(3)} ms`;
  };
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    const index = Math.min(all.length - 1, Math.max(0, Math.floor(share * all.length)));
    cursor.style.left = `${((index + 0.5) / all.length) * 100}%`;
    plot.append(cursor);
    said.textContent = words(all[index]);
  });
  plot.addEventListener("pointerleave", () => {
    cursor.remove();
    said.textContent = usual;
  });
}
