// Command pets-postgres is a REST API on PostgreSQL: list, read, add and delete
// pets. It runs behind an HTTP API or a function URL.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const schema = `CREATE TABLE IF NOT EXISTS pets (
	id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name text NOT NULL,
	kind text NOT NULL
)`

type pet struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
	Kind string `json:"kind"`
}

// pets is made once for each instance; an instance has one call at a time, so one
// connection is enough.
type pets struct{ db *pgxpool.Pool }

func main() {
	ctx := context.Background()
	cfg, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	cfg.MaxConns = 1
	db, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.Exec(ctx, schema); err != nil {
		log.Fatal(err)
	}
	lambda.Start(pets{db}.handle)
}

func (p pets) handle(ctx context.Context, r events.APIGatewayV2HTTPRequest) (events.APIGatewayV2HTTPResponse, error) {
	method, id := r.RequestContext.HTTP.Method, strings.Trim(strings.TrimPrefix(r.RawPath, "/pets"), "/")
	switch {
	case method == http.MethodGet && id == "":
		rows, err := p.db.Query(ctx, `SELECT id, name, kind FROM pets ORDER BY id LIMIT 100`)
		if err != nil {
			return fail(err)
		}
		all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[pet])
		if err != nil {
			return fail(err)
		}
		return answer(http.StatusOK, all)
	case method == http.MethodPost && id == "":
		var in pet
		if err := json.Unmarshal([]byte(r.Body), &in); err != nil || in.Name == "" {
			return answer(http.StatusBadRequest, map[string]string{"error": "send a pet: {\"name\": …, \"kind\": …}"})
		}
		err := p.db.QueryRow(ctx, `INSERT INTO pets (name, kind) VALUES ($1, $2) RETURNING id`, in.Name, in.Kind).Scan(&in.ID)
		if err != nil {
			return fail(err)
		}
		return answer(http.StatusCreated, in)
	}
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return answer(http.StatusNotFound, map[string]string{"error": "there is no such pet"})
	}
	query := map[string]string{
		http.MethodGet:    `SELECT id, name, kind FROM pets WHERE id = $1`,
		http.MethodDelete: `DELETE FROM pets WHERE id = $1 RETURNING id, name, kind`,
	}[method]
	if query == "" {
		return answer(http.StatusMethodNotAllowed, map[string]string{"error": "GET or DELETE"})
	}
	var found pet
	err = p.db.QueryRow(ctx, query, n).Scan(&found.ID, &found.Name, &found.Kind)
	if errors.Is(err, pgx.ErrNoRows) {
		return answer(http.StatusNotFound, map[string]string{"error": "there is no such pet"})
	}
	if err != nil {
		return fail(err)
	}
	return answer(http.StatusOK, found)
}

func answer(status int, v any) (events.APIGatewayV2HTTPResponse, error) {
	b, err := json.Marshal(v)
	return events.APIGatewayV2HTTPResponse{StatusCode: status, Headers: map[string]string{"content-type": "application/json"}, Body: string(b)}, err
}

// fail ends the call with an error: the client is told 500, the log what it was.
func fail(err error) (events.APIGatewayV2HTTPResponse, error) {
	return events.APIGatewayV2HTTPResponse{}, err
}
