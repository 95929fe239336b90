import "./details.css";

export default function Details() {
  return <p id="details">These details are loaded on demand.</p>;
}
