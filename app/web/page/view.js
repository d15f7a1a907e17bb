// Where the pattern is looked at: which part of it fills the picture, and how places in both belong together.

const CLOSEST = 24;
const MARGIN = 1.06;

export class View {
  #svg;
  #whole = { x: 0, y: 0, width: 1, height: 1 };
  #shown = this.#whole;
  // From positions to units of the picture: an SVG has few digits, and q is small.
  scale = 1;

  constructor(svg, changed) {
    this.#svg = svg;
    this.changed = changed;
    new ResizeObserver(() => changed()).observe(svg);
  }

  // Of a frame its pixels, of points the circle that holds them all.
  fit({ frame }, { camera, center, spots }) {
    this.scale = camera ? 1 : 1000;
    if (frame) {
      this.#whole = { x: -0.5, y: -0.5, width: frame.width, height: frame.height };
    } else {
      const away = spots.map(({ position: [x, y] }) => Math.hypot(x - center[0], y - center[1]));
      const half = Math.max(...away) * this.scale * MARGIN;
      const [x, y] = center.map((each) => each * this.scale);
      this.#whole = { x: x - half, y: y - half, width: 2 * half, height: 2 * half };
    }
    this.#show({ ...this.#whole });
  }

  // Units of the picture in one pixel of the screen.
  get unit() {
    const { clientWidth, clientHeight } = this.#svg;
    return Math.max(this.#shown.width / (clientWidth || 1), this.#shown.height / (clientHeight || 1));
  }

  get zoom() {
    return this.#whole.width / this.#shown.width;
  }

  get middle() {
    const { x, y, width, height } = this.#shown;
    return [(x + width / 2) / this.scale, (y + height / 2) / this.scale];
  }

  place([x, y]) {
    return [x * this.scale, y * this.scale];
  }

  // The position under a pointer.
  under({ clientX, clientY }) {
    const matrix = this.#svg.getScreenCTM().inverse();
    const { x, y } = new DOMPoint(clientX, clientY).matrixTransform(matrix);
    return [x / this.scale, y / this.scale];
  }

  zoomBy(factor, at = this.middle) {
    const zoom = Math.min(Math.max(this.zoom * factor, 1), CLOSEST);
    const [x, y] = this.place(at);
    const { width, height } = this.#whole;
    const share = this.zoom / zoom;
    const left = x - (x - this.#shown.x) * share, top = y - (y - this.#shown.y) * share;
    this.#show({ x: left, y: top, width: width / zoom, height: height / zoom });
  }

  panBy(dx, dy) {
    this.#show({ ...this.#shown, x: this.#shown.x - dx * this.scale, y: this.#shown.y - dy * this.scale });
  }

  reset() {
    this.#show({ ...this.#whole });
  }

  #show(box) {
    const { x, y, width, height } = this.#whole;
    box.x = Math.min(Math.max(box.x, x), x + width - box.width);
    box.y = Math.min(Math.max(box.y, y), y + height - box.height);
    this.#shown = box;
    this.#svg.classList.toggle("whole", this.zoom < 1.01);
    this.#svg.setAttribute("viewBox", `${box.x} ${box.y} ${box.width} ${box.height}`);
    this.changed();
  }
}
