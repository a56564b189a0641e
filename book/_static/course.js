/* Figures that can be enlarged on a telephone, tables that fade, print that is dark on white. */

document.addEventListener("click", (event) => {
  const link = event.target.closest("a.enlarge");
  const image = link?.firstElementChild;
  const large = link?.classList.contains("large");
  if (!image || (!large && image.clientWidth >= image.naturalWidth)) return;
  event.preventDefault();
  link.classList.toggle("large");
});

const fade = (box) => {
  box.classList.toggle("more", box.scrollWidth - box.clientWidth - box.scrollLeft > 2);
};
const watch = new ResizeObserver((seen) => seen.forEach(({ target }) => fade(target)));
document.querySelectorAll("article :is(.text_html, .pst-scrollable-table-container)").forEach(
  (box) => {
    watch.observe(box);
    box.addEventListener("scroll", () => fade(box), { passive: true });
  });

let before = "light";
addEventListener("beforeprint", () => {
  before = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
});
addEventListener("afterprint", () => { document.documentElement.dataset.theme = before; });
