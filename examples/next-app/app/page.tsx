// A static page: it is the same for everybody.
export default function Home() {
  return (
    <>
      <h1>Home</h1>
      <p>
        The <a href="/account">account</a> needs a session. A <a href="/transfer">transfer</a> needs a second factor.
      </p>
    </>
  )
}
